-- Numbers come from counters and are never given twice. Times are seconds since 1970, and
-- 9223372036854775807 stands for "not yet". Keys are SHA-256 over what a row holds.
CREATE TABLE counters (name TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;

-- Short texts that many rows share: platforms, distributions, repositories, source URLs.
CREATE TABLE words (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

CREATE TABLE packages (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,
  type TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, title TEXT NOT NULL,
  version TEXT NOT NULL, arch TEXT NOT NULL, distro TEXT NOT NULL,
  source TEXT NOT NULL, source_version TEXT NOT NULL, owner TEXT NOT NULL, licences TEXT NOT NULL,
  advised TEXT NOT NULL, -- the name that advisories know it by
  matched_at INTEGER NOT NULL
);
CREATE INDEX packages_title ON packages (title);
CREATE INDEX packages_source ON packages (source);
CREATE INDEX packages_advised ON packages (advised);
CREATE INDEX packages_unmatched ON packages (id) WHERE matched_at = 0;
CREATE TABLE package_licences (licence TEXT NOT NULL, package INTEGER NOT NULL, PRIMARY KEY (licence, package)) WITHOUT ROWID;

-- What one layer brings: package numbers, and where in the layer each is told of.
CREATE TABLE sets (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, packages BLOB NOT NULL, places BLOB NOT NULL);
-- What an image is of: how many layers are the base's, and the set of each position.
CREATE TABLE stacks (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, sets BLOB NOT NULL);
CREATE TABLE bases (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, name TEXT NOT NULL, digest BLOB NOT NULL, layers BLOB NOT NULL);
-- What kinds of evidence an image has, and whose.
CREATE TABLE claims (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, claims TEXT NOT NULL);

CREATE TABLE images (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, key BLOB NOT NULL, name TEXT NOT NULL,
  began INTEGER NOT NULL, ended INTEGER NOT NULL, others INTEGER NOT NULL,
  stack INTEGER NOT NULL, base INTEGER NOT NULL, claims INTEGER NOT NULL, source INTEGER NOT NULL,
  platform INTEGER NOT NULL, distro INTEGER NOT NULL,
  created INTEGER NOT NULL, pushed INTEGER NOT NULL, seen INTEGER NOT NULL, size INTEGER NOT NULL, revision TEXT NOT NULL
);
CREATE INDEX images_name ON images (name, id, ended, others);
CREATE INDEX images_stack ON images (ended, stack);
-- Those with other names than the one in their row: so many others name them now.
CREATE INDEX images_others ON images (id) WHERE others > 0;
-- What only an answer shows.
CREATE TABLE image_details (image INTEGER PRIMARY KEY, layers BLOB NOT NULL, evidence BLOB NOT NULL);

CREATE TABLE labels (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, name TEXT NOT NULL, value TEXT NOT NULL);
CREATE INDEX labels_name ON labels (name, value);
CREATE TABLE image_labels (label INTEGER NOT NULL, image INTEGER NOT NULL, PRIMARY KEY (label, image)) WITHOUT ROWID;
CREATE INDEX image_labels_image ON image_labels (image);

-- The tail is ":TAG" or "@DIGEST".
CREATE TABLE refs (
  repository INTEGER NOT NULL, tail TEXT NOT NULL, platform INTEGER NOT NULL, ended INTEGER NOT NULL, began INTEGER NOT NULL,
  image INTEGER NOT NULL, PRIMARY KEY (repository, tail, platform, ended)
) WITHOUT ROWID;
CREATE INDEX refs_image ON refs (image);
CREATE INDEX refs_tail ON refs (tail, ended, image);
-- When an image between its begin and its end was named by nothing.
CREATE TABLE gaps (image INTEGER NOT NULL, began INTEGER NOT NULL, ended INTEGER NOT NULL);

CREATE TABLE advisories (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, key BLOB NOT NULL, severity INTEGER NOT NULL, score REAL NOT NULL,
  vector TEXT NOT NULL, summary TEXT NOT NULL, exploited INTEGER NOT NULL, epss REAL NOT NULL,
  published INTEGER NOT NULL, modified INTEGER NOT NULL
);
CREATE TABLE advisory_names (name TEXT NOT NULL, advisory INTEGER NOT NULL, PRIMARY KEY (name, advisory)) WITHOUT ROWID;
CREATE INDEX advisory_names_advisory ON advisory_names (advisory);
CREATE TABLE findings (
  package INTEGER NOT NULL, advisory INTEGER NOT NULL, gone INTEGER NOT NULL, since INTEGER NOT NULL,
  fixed TEXT NOT NULL, state TEXT NOT NULL, feed TEXT NOT NULL, PRIMARY KEY (package, advisory, gone)
) WITHOUT ROWID;
CREATE INDEX findings_advisory ON findings (advisory, gone, package);
-- An empty image or package means all of them.
CREATE TABLE suppressions (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL, advisory TEXT NOT NULL, image BLOB NOT NULL, package TEXT NOT NULL,
  status TEXT NOT NULL, justification TEXT NOT NULL, statement TEXT NOT NULL, author TEXT NOT NULL, told_by TEXT NOT NULL,
  began INTEGER NOT NULL, ended INTEGER NOT NULL
);
CREATE INDEX suppressions_told_by ON suppressions (told_by);
