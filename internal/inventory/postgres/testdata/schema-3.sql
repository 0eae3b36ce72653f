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
-- A patch that was asked for, and each campaign that came of it. Due is when it is to be planned
-- again, or 0.
CREATE TABLE patches (
  name TEXT COLLATE "C" PRIMARY KEY, spec TEXT COLLATE "C" NOT NULL, due BIGINT NOT NULL, told TEXT COLLATE "C" NOT NULL
);
-- The phase is empty until all items are there.
CREATE TABLE campaigns (
  id BIGINT PRIMARY KEY, patch TEXT COLLATE "C" NOT NULL, run BIGINT NOT NULL, spec TEXT COLLATE "C" NOT NULL, told TEXT COLLATE "C" NOT NULL, plan TEXT COLLATE "C" NOT NULL, radius TEXT COLLATE "C" NOT NULL, waves TEXT COLLATE "C" NOT NULL,
  phase TEXT COLLATE "C" NOT NULL, wave BIGINT NOT NULL, due BIGINT NOT NULL, why TEXT COLLATE "C" NOT NULL, stage TEXT COLLATE "C" NOT NULL, paused BIGINT NOT NULL,
  created BIGINT NOT NULL, started BIGINT NOT NULL, ended BIGINT NOT NULL
);
CREATE UNIQUE INDEX campaigns_patch ON campaigns (patch, run);
CREATE INDEX campaigns_ended ON campaigns (ended);
-- What many items have in common: what fixes which findings, and which stay.
CREATE TABLE campaign_remedies (id BIGINT PRIMARY KEY, campaign BIGINT NOT NULL, remedy TEXT COLLATE "C" NOT NULL);
CREATE INDEX campaign_remedies_campaign ON campaign_remedies (campaign);
-- The slot is of the worker that has it, or -1. Attempt is a hash over what is tried.
CREATE TABLE campaign_items (
  campaign BIGINT NOT NULL, number BIGINT NOT NULL, reference TEXT COLLATE "C" NOT NULL, digest BYTEA NOT NULL, team TEXT COLLATE "C" NOT NULL, wave BIGINT NOT NULL,
  kind TEXT COLLATE "C" NOT NULL, remedy BIGINT NOT NULL, attempt BYTEA NOT NULL, state TEXT COLLATE "C" NOT NULL, slot BIGINT NOT NULL,
  attempts BIGINT NOT NULL, retry BIGINT NOT NULL, was TEXT COLLATE "C" NOT NULL, became TEXT COLLATE "C" NOT NULL, tested TEXT COLLATE "C" NOT NULL, bytes BIGINT NOT NULL, error TEXT COLLATE "C" NOT NULL,
  started BIGINT NOT NULL, ended BIGINT NOT NULL, PRIMARY KEY (campaign, number)
);
CREATE INDEX campaign_items_state ON campaign_items (campaign, wave, state, kind, number);
-- Workers' turns at a campaign: which is the last, until when it is taken to be alive.
CREATE TABLE campaign_turns (campaign BIGINT NOT NULL, slot BIGINT NOT NULL, turn BIGINT NOT NULL, until BIGINT NOT NULL, PRIMARY KEY (campaign, slot));
CREATE TABLE campaign_reports (campaign BIGINT PRIMARY KEY, digest TEXT COLLATE "C" NOT NULL, envelope BYTEA NOT NULL);
-- How fast it went so far, and how many bytes it took.
CREATE TABLE paces (remedy TEXT COLLATE "C" PRIMARY KEY, images BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, bytes BIGINT NOT NULL);
-- While one of them lasts, nothing starts.
CREATE TABLE freezes (id BIGINT PRIMARY KEY, owner TEXT COLLATE "C" NOT NULL, reason TEXT COLLATE "C" NOT NULL, began BIGINT NOT NULL, ended BIGINT NOT NULL, lifted_by TEXT COLLATE "C" NOT NULL);
CREATE TABLE schema_version (version BIGINT NOT NULL);
INSERT INTO advisories (id, name, key, severity, score, vector, summary, exploited, epss, modified) VALUES (1, 'CVE-2025-9230', '\x4a0ae6a5ca78390244730c53e128d422b908a8cea8ad18a68d9f5f6f9b42c5b4', 4, 7.5, '', 'An out-of-bounds read', 0, 0.02, 0);
INSERT INTO advisories (id, name, key, severity, score, vector, summary, exploited, epss, modified) VALUES (2, 'GHSA-35jh-r3h4-6jhm', '\x3947ae9e4901b73b2f5975a655eab2c02ebe4fa6e10a4e34395f166aeb591d0a', 3, 0, '', '', 0, 0, 0);
INSERT INTO advisories (id, name, key, severity, score, vector, summary, exploited, epss, modified) VALUES (3, 'GO-2025-3595', '\xfcdc8378d839cbddab10cd625b430d1e7c03a285aab215d5cf9032c79d128501', 5, 0, '', '', 1, 0, 0);
INSERT INTO advisories (id, name, key, severity, score, vector, summary, exploited, epss, modified) VALUES (4, 'GO-2025-4000', '\x9ee6073e4ec8347fdba284418e5b9a9f2cd835be0a78123eb2855b27309c87b4', 2, 0, '', '', 0, 0, 0);
INSERT INTO advisory_names (name, advisory) VALUES ('CVE-2025-9230', 1);
INSERT INTO advisory_names (name, advisory) VALUES ('DSA-6015-1', 1);
INSERT INTO advisory_names (name, advisory) VALUES ('CVE-2021-23337', 2);
INSERT INTO advisory_names (name, advisory) VALUES ('GHSA-35jh-r3h4-6jhm', 2);
INSERT INTO advisory_names (name, advisory) VALUES ('GO-2025-3595', 3);
INSERT INTO advisory_names (name, advisory) VALUES ('GO-2025-4000', 4);
INSERT INTO bases (id, key, name, digest, layers) VALUES (1, '\x15ec7bf0b50732b49f8228e07d24365338f9e3ab994b00af08e5a3bffe55fd8b', '', '\x', '\x');
INSERT INTO bases (id, key, name, digest, layers) VALUES (2, '\x7d4873eca5b3eecba3442ae542bf61603601a18fe64e4414e21c41dfe1188f46', 'registry.example/base/run:13', '\x66ab0f6356a1ef0859b544b55d4b34acd04c7f453ee8f599d663c621feca5dd7', '\x16c8c6eb85e05438f5d6c60ff9869072a3a3b1618aa1481ac7a0cb049f06f51da1e1938ebb02382634d521f6351a412a108e4ee2cf16928f1bf53b95a00ac207');
INSERT INTO bases (id, key, name, digest, layers) VALUES (3, '\x88ef1a69a2ce3c6907e18aab34b7b8e4668dbf65ab091400bc6a68e1081c2242', 'registry.example/base/run:13', '\x2fc6097d8caf9b1094b6ec20d3b9e66adc6065a1aad5fb6f6bcd08cece309396', '\x16c8c6eb85e05438f5d6c60ff9869072a3a3b1618aa1481ac7a0cb049f06f51d42f020f0a93cf868370d55aaeb0c9f096ee1ec646b696ce3a18e3120d01ea293');
INSERT INTO bases (id, key, name, digest, layers) VALUES (4, '\xfe00355a2118512afc249138a2aa9e9db2e5ee34c5185274f20c820ae45fb25a', 'registry.example/base/run:13', '\x7a26ab389f1eaab5122ea75fedf46ea8517972b312f346c9a15292c6c4fbde1c', '\x16c8c6eb85e05438f5d6c60ff9869072a3a3b1618aa1481ac7a0cb049f06f51da1e1938ebb02382634d521f6351a412a108e4ee2cf16928f1bf53b95a00ac207');
INSERT INTO claims (id, key, claims) VALUES (1, '\x04679003bbb9dc979ca711ede1c6840951d800bbc55014225396a3464f32b600', '[{"predicateType":"https://slsa.dev/provenance/v1","keyID":"key-9","identity":"builder@example","verified":true}]');
INSERT INTO claims (id, key, claims) VALUES (2, '\x38bc7877fd812cd143bfde92dee745f458cbd5ec81f1348870ac073716e775a5', '[{"predicateType":"https://sigstore.dev/cosign/sign/v1","stored":"bundle","keyID":"key-1","verified":true},{"predicateType":"https://spdx.dev/Document","stored":"tag","keyID":"key-2"}]');
INSERT INTO claims (id, key, claims) VALUES (3, '\xfdf322d144ba97b4eaadd2550cd5384607dfd9d09feb36d44266edf8ec2e671f', 'null');
INSERT INTO counters (name, next) VALUES ('words', 9);
INSERT INTO counters (name, next) VALUES ('images', 5);
INSERT INTO counters (name, next) VALUES ('packages', 9);
INSERT INTO counters (name, next) VALUES ('sets', 7);
INSERT INTO counters (name, next) VALUES ('stacks', 4);
INSERT INTO counters (name, next) VALUES ('bases', 5);
INSERT INTO counters (name, next) VALUES ('claims', 4);
INSERT INTO counters (name, next) VALUES ('labels', 2);
INSERT INTO counters (name, next) VALUES ('changes', 2);
INSERT INTO counters (name, next) VALUES ('advisories', 5);
INSERT INTO counters (name, next) VALUES ('news', 3);
INSERT INTO counters (name, next) VALUES ('manifests', 2);
INSERT INTO facts (manifest, news, facts) VALUES (1, 2, '\x0128b52ffd4400c600d50900725a4b2240a73801302259cb8d15ae950b82983da7745f4539a48011b699e1406f771445e00293c524eed523ec18702f4b0caf8f389728f4cdf011778a585f4df801a39e234bafb9e7caa06f8ed6f1ecbb5a1c02bdbe42df711b748c4bf4cd397d3579662ad743eec7d5e4fd58a3af6fcbf1127d4becac7495fa861c59e92af55cc0faea02999aa94b095072a0e48059b9ae87b8d18f77750303b52d401e1393ae6fd031e24aefea93eb01008580109b196cda46e0681b23b0c711a089a0303916f761d27b7b3dbf48c03288db951e9a98e36a71e50a7d471bafbe30180462396c93c86cf27172251c671b28d9d02cc4d2388d83302cca81c9c530c93828e92c0fb312cf7a98b53408650e6b1b7d7d6c8e1874f5e71a5d60e9b58530210263b388e1f511e8226bf7185ea2e7681bbb240210070e37302d18570a9f06426f');
INSERT INTO findings (package, advisory, gone, since, fixed, state, feed, published) VALUES (4, 1, 9223372036854775807, 1767268800, '3.5.1-1+deb13u1', 'fixed', 'debian', 1767268800);
INSERT INTO findings (package, advisory, gone, since, fixed, state, feed, published) VALUES (5, 2, 9223372036854775807, 1767268800, '4.17.21', 'fixed', 'npm', 1767268800);
INSERT INTO findings (package, advisory, gone, since, fixed, state, feed, published) VALUES (7, 3, 9223372036854775807, 1767268800, '', 'affected', 'go', 1767268800);
INSERT INTO findings (package, advisory, gone, since, fixed, state, feed, published) VALUES (8, 4, 9223372036854775807, 1767268800, '1.25.4', 'fixed', 'go', 1767268800);
INSERT INTO image_details (image, layers, evidence) VALUES (1, '\x50898f17953a52acc5c3b06f59165182c25e2d95cd448f972657ec2628e718293e6803824e2692108638e554e0d7214b35577a4ab94eb1f5246d071e788bdd4d', '\x00201e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fcc0c3d9ca06010000');
INSERT INTO image_details (image, layers, evidence) VALUES (2, '\x64d20a2a16f98894db01257931a4d674f3ddc8b9b4461c28161951cd31658e77de939852d5e9c9d97e1af0630ef13342c101b5982817de20d994e1c77e6b0061', '\x00201e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fcc0c3d9ca06010000');
INSERT INTO image_details (image, layers, evidence) VALUES (3, '\x64d20a2a16f98894db01257931a4d674f3ddc8b9b4461c28161951cd31658e77db5476fde250e614249488902f13c3f18cf539c7b7d0b01034f2e6401326434b', '\x');
INSERT INTO image_details (image, layers, evidence) VALUES (4, '\x51a1f05af85e342e3c849b47d387086476282d5f50dc240c19216d6edfb1eb5a', '\x0000c0c3d9ca06');
INSERT INTO image_labels (label, image) VALUES (1, 1);
INSERT INTO image_labels (label, image) VALUES (1, 2);
INSERT INTO image_labels (label, image) VALUES (1, 3);
INSERT INTO images (id, digest, key, name, began, ended, others, stack, base, claims, source, platform, distro, created, pushed, seen, size, revision) VALUES (1, '\x79326c2c826c3b015f06620651347b9b937294e0d9abb820bc090089a53776f3', '\x65bc60ecd47d5115ab259fac98744a03739b5476aeaf8d87141d881afd60abf7', 'registry.example/shop:1.0', 1761998400, 9223372036854775807, 0, 2, 3, 2, 4, 5, 2, 315576000, 1761998400, 1761998400, 60000000, 'abc123');
INSERT INTO images (id, digest, key, name, began, ended, others, stack, base, claims, source, platform, distro, created, pushed, seen, size, revision) VALUES (2, '\xafe55619c2ce097ca0878f2ac2563d2c15bacdf6090dbd193463f87b99ecda67', '\xb72afe2a100d26dcc4ae17f2dbd9e23993552da9da721a1c36a18d779c5d211a', 'registry.example/shop:1.1', 1761998400, 9223372036854775807, 0, 3, 4, 2, 4, 5, 2, 315576000, 1761998400, 1761998400, 60000000, 'abc123');
INSERT INTO images (id, digest, key, name, began, ended, others, stack, base, claims, source, platform, distro, created, pushed, seen, size, revision) VALUES (3, '\x8946d4252b3da1f85a3a88d3820f72deb84f679518f56c9037089afe333dbbbc', '\xeef4d97331d70e07588c85dcde12cc9bd2cbc5691894e047bca004b8954a8d8c', 'registry.example/shop:1.1', 1761998400, 9223372036854775807, 0, 3, 2, 3, 4, 6, 2, 315576000, 1761998400, 1761998400, 60000000, 'abc123');
INSERT INTO images (id, digest, key, name, began, ended, others, stack, base, claims, source, platform, distro, created, pushed, seen, size, revision) VALUES (4, '\xfe14010b4fe83303852f0467c919ef9a7ca089b91e96e3aad7d426dd87079297', '\x5f6b7824db0ae1d0744b2287c01089adc601b42779f59239dab99bc84230e540', 'other.example/ledger:2', 1767009600, 9223372036854775807, 0, 1, 1, 1, 3, 5, 1, 0, 1767009600, 1767009600, 9000000, 'def456');
INSERT INTO labels (id, key, name, value) VALUES (1, '\x12c4ca2d400fb01702c48fc103e7ae9753f2baf24f05d58489705a6cb2d19f25', 'team', 'ships');
INSERT INTO manifests (id, key, repository, digest) VALUES (1, '\x94768ad36d2663e8886182461cf484ec481ca52902efecb93a721801b16c7aa2', 'registry.example/shop', '\x79326c2c826c3b015f06620651347b9b937294e0d9abb820bc090089a53776f3');
INSERT INTO package_licences (licence, package) VALUES ('mit', 3);
INSERT INTO package_licences (licence, package) VALUES ('mit', 5);
INSERT INTO package_licences (licence, package) VALUES ('gpl-2.0-only', 6);
INSERT INTO package_licences (licence, package) VALUES ('mit', 6);
INSERT INTO package_licences (licence, package) VALUES ('mit or gpl-2.0-only', 6);
INSERT INTO package_licences (licence, package) VALUES ('bsd-3-clause', 7);
INSERT INTO packages (id, key, type, namespace, name, title, version, arch, distro, source, source_version, owner, licences, advised, matched_at, news) VALUES (1, '\x0bcb09a72a1a62d2a55c1421e8c2b6e3ba8d455daeb066078cd695eb49464095', 'deb', 'debian', 'libc6', 'libc6', '2.41-12', 'amd64', 'debian-13', 'glibc', '2.41-12', '', '[]', 'glibc', 1767268800, 1);
INSERT INTO packages (id, key, type, namespace, name, title, version, arch, distro, source, source_version, owner, licences, advised, matched_at, news) VALUES (2, '\x0c5a79c1adc7d07f7986fb343d7ad600a064d41c1c3ce3b866b37bd5e1317cad', 'deb', 'debian', 'libssl3t64', 'libssl3t64', '3.5.1-1+deb13u1', 'amd64', 'debian-13', 'openssl', '3.5.1-1+deb13u1', '', '[]', 'openssl', 1767268800, 1);
INSERT INTO packages (id, key, type, namespace, name, title, version, arch, distro, source, source_version, owner, licences, advised, matched_at, news) VALUES (3, '\x3098176b2600b2f43b56f23ecb0bc6cfc1882b9512cec19c3b55c3fb11502c29', 'npm', '', 'lodash', 'lodash', '4.17.21', '', '', '', '', '', '["MIT"]', 'lodash', 1767268800, 1);
INSERT INTO packages (id, key, type, namespace, name, title, version, arch, distro, source, source_version, owner, licences, advised, matched_at, news) VALUES (4, '\x4d078af437e99d432e1b022da48fc0b6254605bc96c84e2b3801e40a22e20670', 'deb', 'debian', 'libssl3t64', 'libssl3t64', '3.5.1-1', 'amd64', 'debian-13', 'openssl', '3.5.1-1', '', '[]', 'openssl', 1767268800, 1);
INSERT INTO packages (id, key, type, namespace, name, title, version, arch, distro, source, source_version, owner, licences, advised, matched_at, news) VALUES (5, '\x59679689ff86383ab467c3f4432786b2d0bc2269a1baf476914b9f2aa3caa2fa', 'npm', '', 'lodash', 'lodash', '4.17.20', '', '', '', '', '', '["MIT"]', 'lodash', 1767268800, 1);
INSERT INTO packages (id, key, type, namespace, name, title, version, arch, distro, source, source_version, owner, licences, advised, matched_at, news) VALUES (6, '\x63f87d8a2270843e73231fca9c72d4fb3f4b782ac59e60e24d03dc6610db0cd7', 'npm', '@babel', 'core', '@babel/core', '7.26.0', '', '', '', '', '', '["MIT OR GPL-2.0-only"]', '@babel/core', 1767268800, 1);
INSERT INTO packages (id, key, type, namespace, name, title, version, arch, distro, source, source_version, owner, licences, advised, matched_at, news) VALUES (7, '\x9d37aee37101e95408d18c74599885bc1ced48418cf4b89ff390bf15d21220bb', 'golang', 'golang.org/x', 'net', 'golang.org/x/net', 'v0.37.0', '', '', '', '', '', '["BSD-3-Clause"]', 'golang.org/x/net', 1767268800, 1);
INSERT INTO packages (id, key, type, namespace, name, title, version, arch, distro, source, source_version, owner, licences, advised, matched_at, news) VALUES (8, '\xc3ce96888c8a22ebd4a280ff12afdf27796bed167a23905baa40896c614d92c0', 'golang', '', 'stdlib', 'stdlib', '1.25.3', '', '', '', '', '', '[]', 'stdlib', 1767268800, 1);
INSERT INTO refs (repository, tail, platform, ended, began, image) VALUES (8, ':1.0', 5, 9223372036854775807, 1761998400, 1);
INSERT INTO refs (repository, tail, platform, ended, began, image) VALUES (8, ':1.1', 5, 9223372036854775807, 1761998400, 2);
INSERT INTO refs (repository, tail, platform, ended, began, image) VALUES (8, ':1.1', 6, 9223372036854775807, 1761998400, 3);
INSERT INTO refs (repository, tail, platform, ended, began, image) VALUES (7, ':2', 5, 9223372036854775807, 1767009600, 4);
INSERT INTO schema_version (version) VALUES (1);
INSERT INTO schema_version (version) VALUES (2);
INSERT INTO schema_version (version) VALUES (3);
INSERT INTO sets (id, key, packages, places) VALUES (1, '\x15fedca4f7c6883f7f030abc96eef25c6eacb2f063423204da68f106815d9677', '\x02', '\x6254284b2cd2cfc94cd24f29c84ed72f2e492c292dd64b01891417e71897989930b266e626a6a702020000ffff');
INSERT INTO sets (id, key, packages, places) VALUES (2, '\x3f97324f4e09d9d885d5cd02ef0fde00f6f6346de69e54ea9da9169926e5ed61', '\x01', '\x62942e4b2cd2cfc94cd24f29c84ed72f2e492c292dd64b0189249b31b266e626a6a702020000ffff');
INSERT INTO sets (id, key, packages, places) VALUES (3, '\x58eb51555d21a1be0a050eb4cc0cc9116a3ed41b6ca3daf8dc68420fe8d107dc', '\x0303', '\x62d42acf2fca2e2e484c4ed5cfcb4f498dcfcd4f29cd492dd6cfc94f492cced02f484cce4e4c4fd5cb2acecf6364cdcc4d4c4f65d4c0a12539bf28159b0640000000ffff');
INSERT INTO sets (id, key, packages, places) VALUES (4, '\xb20ecc8f1b50e15afd869cb90f92df3f979e81aa0dde995d4343bcb415099e2a', '\x0501', '\x62d42acf2fca2e2e484c4ed5cfcb4f498dcfcd4f29cd492dd6cfc94f492cced02f484cce4e4c4fd5cb2acecf6364cdcc4d4c4f65d4c0a12539bf28159b0640000000ffff');
INSERT INTO sets (id, key, packages, places) VALUES (5, '\xca8674ab468ba4e640ef7b605e452078607bafb9794c4c8be7b3f34e71f9d6e7', '\x0701', '\x62e44acaccd3cf494d494f2d6264cdcc4d4c4fc52204080000ffff');
INSERT INTO sets (id, key, packages, places) VALUES (6, '\xf32b5517ebfd36155687b5f48fbfcf1c114f24de5139bfa717324be8ade3c58d', '\x04', '\x6254284b2cd2cfc94cd24f29c84ed72f2e492c292dd64b01891417e71897989930b266e626a6a702020000ffff');
INSERT INTO stacks (id, key, sets) VALUES (1, '\x1b00297b1b0f66e73b4bef745d22904dadb3affadb9b156cf836d5f00cdf208f', '\x000005');
INSERT INTO stacks (id, key, sets) VALUES (2, '\x2d74bddfa50927127ad3cda3fbfa40199caffda2c9b5a892483ef04889beda65', '\x02000201060204');
INSERT INTO stacks (id, key, sets) VALUES (3, '\x49cb3f5082728619c50f27f98e574eb9c2015f9a9d22b6cd32d7a65cef6eebc1', '\x02000201010203');
INSERT INTO verdicts (manifest, registry, admission, identity, gateway, decided, until, policies, verdict) VALUES (1, 3, 3, 1, -1, 1767355200, 9223372036854775807, 'sha256:5b3a02e57af9b55aae545b599baa6a6798a364d8d2798a38536249f77e30fe5f', '\x0128b52ffd4400f900cd0a00429d512050492b00389dc6cc22da168200e5d9c37dfc042021496229f575a5720500a0348ba3556c57cd9569359cc6a2e360ad3534383646d249885a1b53c9d6c8313a58a325d78291f9706b2b1379fe7caa9e9b9ab1e90eb4926a899b63483679acc4cdb1c58b193aa7a03a54332b05dd64a61a2d27a86ad3481125f1f382ddb7fb90418036c0d8808516fd5db6a4b1e5cfc162717043c048b8c13b57a45ef15e1165611225fe9ca100b21303ad008d54a092fcbd3928fc744578becbae95133f979d1868fd7b2308cbcf3ba14857867f6f224594c41506ef9541106a2f3f8b73864a04fe7bc3502669497fde242dff9e28b4568a907cc57b6d860d3f4f73319614bbb6eb36c2450d427672fb708825071d644732d45ab4d64e652c4c71a116515c2839f696427ca87f6f0323e8cf13caa10e349240f0420b340b53a9a197bf378bc2d0aa247ab922040008e1ee3892595b909270e214460a65c11ee2');
INSERT INTO words (id, text) VALUES (1, '');
INSERT INTO words (id, text) VALUES (2, 'debian-13');
INSERT INTO words (id, text) VALUES (3, 'https://git.example/ledger.git');
INSERT INTO words (id, text) VALUES (4, 'https://git.example/shop.git');
INSERT INTO words (id, text) VALUES (5, 'linux/amd64');
INSERT INTO words (id, text) VALUES (6, 'linux/arm64');
INSERT INTO words (id, text) VALUES (7, 'other.example/ledger');
INSERT INTO words (id, text) VALUES (8, 'registry.example/shop');
