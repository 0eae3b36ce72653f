-- Since when a fix could be had is known of a package, not of an advisory.
ALTER TABLE findings ADD COLUMN published BIGINT NOT NULL DEFAULT 0;
UPDATE findings SET published = coalesce((SELECT a.published FROM advisories a WHERE a.id = findings.advisory), 0);
ALTER TABLE advisories DROP COLUMN published;

-- A manifest in a repository, of which facts are known or that was decided on.
CREATE TABLE manifests (id BIGINT PRIMARY KEY, key BYTEA NOT NULL UNIQUE, repository TEXT COLLATE "C" NOT NULL, digest BYTEA NOT NULL);
CREATE INDEX manifests_repository ON manifests (repository);
CREATE INDEX manifests_digest ON manifests (digest);
-- Without what is in other tables: packages, findings.
CREATE TABLE facts (manifest BIGINT PRIMARY KEY, news BIGINT NOT NULL, facts BYTEA NOT NULL);
CREATE INDEX facts_news ON facts (news);
-- Of each gate the rank of the action, or -1 where no policy covers the manifest.
CREATE TABLE verdicts (
  manifest BIGINT PRIMARY KEY, registry BIGINT NOT NULL, admission BIGINT NOT NULL, identity BIGINT NOT NULL, gateway BIGINT NOT NULL,
  decided BIGINT NOT NULL, until BIGINT NOT NULL, policies TEXT COLLATE "C" NOT NULL, verdict BYTEA NOT NULL
);
CREATE INDEX verdicts_actions ON verdicts (registry, admission, identity, gateway, manifest);
CREATE INDEX verdicts_validity ON verdicts (until, policies, manifest);
CREATE TABLE moments (name TEXT COLLATE "C" PRIMARY KEY, at BIGINT NOT NULL);

-- News numbers the transactions that changed facts: the last that touched a row.
ALTER TABLE packages ADD COLUMN news BIGINT NOT NULL DEFAULT 0;
CREATE INDEX packages_news ON packages (news);
ALTER TABLE suppressions ADD COLUMN news BIGINT NOT NULL DEFAULT 0;
CREATE INDEX suppressions_news ON suppressions (news);
