-- Numbers come from counters and are never given twice. Times are seconds since 1970, and
-- 9223372036854775807 stands for "not yet". Keys are SHA-256 over what a row holds.
CREATE TABLE counters (name TEXT PRIMARY KEY, next BIGINT NOT NULL);

-- Short texts that many rows share: platforms, distributions, repositories, source URLs.
CREATE TABLE words (id BIGINT PRIMARY KEY, text TEXT COLLATE "C" NOT NULL UNIQUE);

CREATE TABLE packages (
  id BIGINT PRIMARY KEY, key BYTEA NOT NULL UNIQUE,
  type TEXT COLLATE "C" NOT NULL, namespace TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, title TEXT COLLATE "C" NOT NULL,
  version TEXT COLLATE "C" NOT NULL, arch TEXT COLLATE "C" NOT NULL, distro TEXT COLLATE "C" NOT NULL,
  source TEXT COLLATE "C" NOT NULL, source_version TEXT COLLATE "C" NOT NULL, owner TEXT COLLATE "C" NOT NULL, licences TEXT NOT NULL,
  advised TEXT COLLATE "C" NOT NULL, -- the name that advisories know it by
  matched_at BIGINT NOT NULL
);
CREATE INDEX packages_title ON packages (title);
CREATE INDEX packages_source ON packages (source);
CREATE INDEX packages_advised ON packages (advised);
CREATE INDEX packages_unmatched ON packages (id) WHERE matched_at = 0;
CREATE TABLE package_licences (licence TEXT COLLATE "C" NOT NULL, package BIGINT NOT NULL, PRIMARY KEY (licence, package));

-- What one layer brings: package numbers, and where in the layer each is told of.
CREATE TABLE sets (id BIGINT PRIMARY KEY, key BYTEA NOT NULL UNIQUE, packages BYTEA NOT NULL, places BYTEA NOT NULL);
-- What an image is of: how many layers are the base's, and the set of each position.
CREATE TABLE stacks (id BIGINT PRIMARY KEY, key BYTEA NOT NULL UNIQUE, sets BYTEA NOT NULL);
CREATE TABLE bases (id BIGINT PRIMARY KEY, key BYTEA NOT NULL UNIQUE, name TEXT COLLATE "C" NOT NULL, digest BYTEA NOT NULL, layers BYTEA NOT NULL);
-- What kinds of evidence an image has, and whose.
CREATE TABLE claims (id BIGINT PRIMARY KEY, key BYTEA NOT NULL UNIQUE, claims TEXT NOT NULL);

CREATE TABLE images (
  id BIGINT PRIMARY KEY, digest BYTEA NOT NULL UNIQUE, key BYTEA NOT NULL, name TEXT COLLATE "C" NOT NULL,
  began BIGINT NOT NULL, ended BIGINT NOT NULL, others BIGINT NOT NULL,
  stack BIGINT NOT NULL, base BIGINT NOT NULL, claims BIGINT NOT NULL, source BIGINT NOT NULL,
  platform BIGINT NOT NULL, distro BIGINT NOT NULL,
  created BIGINT NOT NULL, pushed BIGINT NOT NULL, seen BIGINT NOT NULL, size BIGINT NOT NULL, revision TEXT COLLATE "C" NOT NULL
);
CREATE INDEX images_name ON images (name, id, ended, others);
CREATE INDEX images_stack ON images (ended, stack);
-- Those with other names than the one in their row: so many others name them now.
CREATE INDEX images_others ON images (id) WHERE others > 0;
-- What only an answer shows.
CREATE TABLE image_details (image BIGINT PRIMARY KEY, layers BYTEA NOT NULL, evidence BYTEA NOT NULL);

CREATE TABLE labels (id BIGINT PRIMARY KEY, key BYTEA NOT NULL UNIQUE, name TEXT COLLATE "C" NOT NULL, value TEXT COLLATE "C" NOT NULL);
CREATE INDEX labels_name ON labels (name, value);
CREATE TABLE image_labels (label BIGINT NOT NULL, image BIGINT NOT NULL, PRIMARY KEY (label, image));
CREATE INDEX image_labels_image ON image_labels (image);

-- The tail is ":TAG" or "@DIGEST".
CREATE TABLE refs (
  repository BIGINT NOT NULL, tail TEXT COLLATE "C" NOT NULL, platform BIGINT NOT NULL, ended BIGINT NOT NULL, began BIGINT NOT NULL,
  image BIGINT NOT NULL, PRIMARY KEY (repository, tail, platform, ended)
);
CREATE INDEX refs_image ON refs (image);
CREATE INDEX refs_tail ON refs (tail, ended, image);
-- When an image between its begin and its end was named by nothing.
CREATE TABLE gaps (image BIGINT NOT NULL, began BIGINT NOT NULL, ended BIGINT NOT NULL);

CREATE TABLE advisories (
  id BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL UNIQUE, key BYTEA NOT NULL, severity BIGINT NOT NULL, score DOUBLE PRECISION NOT NULL,
  vector TEXT NOT NULL, summary TEXT NOT NULL, exploited BIGINT NOT NULL, epss DOUBLE PRECISION NOT NULL,
  published BIGINT NOT NULL, modified BIGINT NOT NULL
);
CREATE TABLE advisory_names (name TEXT COLLATE "C" NOT NULL, advisory BIGINT NOT NULL, PRIMARY KEY (name, advisory));
CREATE INDEX advisory_names_advisory ON advisory_names (advisory);
CREATE TABLE findings (
  package BIGINT NOT NULL, advisory BIGINT NOT NULL, gone BIGINT NOT NULL, since BIGINT NOT NULL,
  fixed TEXT COLLATE "C" NOT NULL, state TEXT COLLATE "C" NOT NULL, feed TEXT COLLATE "C" NOT NULL, PRIMARY KEY (package, advisory, gone)
);
CREATE INDEX findings_advisory ON findings (advisory, gone, package);
-- An empty image or package means all of them.
CREATE TABLE suppressions (
  id BIGINT PRIMARY KEY, key BYTEA NOT NULL, advisory TEXT COLLATE "C" NOT NULL, image BYTEA NOT NULL, package TEXT COLLATE "C" NOT NULL,
  status TEXT NOT NULL, justification TEXT NOT NULL, statement TEXT NOT NULL, author TEXT NOT NULL, told_by TEXT COLLATE "C" NOT NULL,
  began BIGINT NOT NULL, ended BIGINT NOT NULL
);
CREATE INDEX suppressions_told_by ON suppressions (told_by);
