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
