-- Since when a fix could be had is known of a package, not of an advisory.
ALTER TABLE findings ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
UPDATE findings SET published = coalesce((SELECT a.published FROM advisories a WHERE a.id = findings.advisory), 0);
ALTER TABLE advisories DROP COLUMN published;

-- A manifest in a repository, of which facts are known or that was decided on.
CREATE TABLE manifests (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, repository TEXT NOT NULL, digest BLOB NOT NULL);
CREATE INDEX manifests_repository ON manifests (repository);
CREATE INDEX manifests_digest ON manifests (digest);
-- Without what is in other tables: packages, findings.
CREATE TABLE facts (manifest INTEGER PRIMARY KEY, news INTEGER NOT NULL, facts BLOB NOT NULL);
CREATE INDEX facts_news ON facts (news);
-- Of each gate the rank of the action, or -1 where no policy covers the manifest.
CREATE TABLE verdicts (
  manifest INTEGER PRIMARY KEY, registry INTEGER NOT NULL, admission INTEGER NOT NULL, identity INTEGER NOT NULL, gateway INTEGER NOT NULL,
  decided INTEGER NOT NULL, until INTEGER NOT NULL, policies TEXT NOT NULL, verdict BLOB NOT NULL
);
CREATE INDEX verdicts_actions ON verdicts (registry, admission, identity, gateway, manifest);
CREATE INDEX verdicts_validity ON verdicts (until, policies, manifest);
CREATE TABLE moments (name TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;

-- News numbers the transactions that changed facts: the last that touched a row.
ALTER TABLE packages ADD COLUMN news INTEGER NOT NULL DEFAULT 0;
CREATE INDEX packages_news ON packages (news);
ALTER TABLE suppressions ADD COLUMN news INTEGER NOT NULL DEFAULT 0;
CREATE INDEX suppressions_news ON suppressions (news);
