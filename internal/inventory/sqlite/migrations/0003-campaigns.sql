-- A patch that was asked for, and each campaign that came of it. Due is when it is to be planned
-- again, or 0.
CREATE TABLE patches (
  name TEXT PRIMARY KEY, spec TEXT NOT NULL, due INTEGER NOT NULL, told TEXT NOT NULL
);
-- The phase is empty until all items are there.
CREATE TABLE campaigns (
  id INTEGER PRIMARY KEY, patch TEXT NOT NULL, run INTEGER NOT NULL, spec TEXT NOT NULL, told TEXT NOT NULL, plan TEXT NOT NULL, radius TEXT NOT NULL, waves TEXT NOT NULL,
  phase TEXT NOT NULL, wave INTEGER NOT NULL, due INTEGER NOT NULL, why TEXT NOT NULL, stage TEXT NOT NULL, paused INTEGER NOT NULL,
  created INTEGER NOT NULL, started INTEGER NOT NULL, ended INTEGER NOT NULL
);
CREATE UNIQUE INDEX campaigns_patch ON campaigns (patch, run);
CREATE INDEX campaigns_ended ON campaigns (ended);
-- What many items have in common: what fixes which findings, and which stay.
CREATE TABLE campaign_remedies (id INTEGER PRIMARY KEY, campaign INTEGER NOT NULL, remedy TEXT NOT NULL);
CREATE INDEX campaign_remedies_campaign ON campaign_remedies (campaign);
-- The slot is of the worker that has it, or -1. Attempt is a hash over what is tried.
CREATE TABLE campaign_items (
  campaign INTEGER NOT NULL, number INTEGER NOT NULL, reference TEXT NOT NULL, digest BLOB NOT NULL, team TEXT NOT NULL, wave INTEGER NOT NULL,
  kind TEXT NOT NULL, remedy INTEGER NOT NULL, attempt BLOB NOT NULL, state TEXT NOT NULL, slot INTEGER NOT NULL,
  attempts INTEGER NOT NULL, retry INTEGER NOT NULL, was TEXT NOT NULL, became TEXT NOT NULL, tested TEXT NOT NULL, bytes INTEGER NOT NULL, error TEXT NOT NULL,
  started INTEGER NOT NULL, ended INTEGER NOT NULL, PRIMARY KEY (campaign, number)
) WITHOUT ROWID;
CREATE INDEX campaign_items_state ON campaign_items (campaign, wave, state, kind, number);
-- Workers' turns at a campaign: which is the last, until when it is taken to be alive.
CREATE TABLE campaign_turns (campaign INTEGER NOT NULL, slot INTEGER NOT NULL, turn INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (campaign, slot)) WITHOUT ROWID;
CREATE TABLE campaign_reports (campaign INTEGER PRIMARY KEY, digest TEXT NOT NULL, envelope BLOB NOT NULL);
-- How fast it went so far, and how many bytes it took.
CREATE TABLE paces (remedy TEXT PRIMARY KEY, images INTEGER NOT NULL, seconds REAL NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
-- While one of them lasts, nothing starts.
CREATE TABLE freezes (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, reason TEXT NOT NULL, began INTEGER NOT NULL, ended INTEGER NOT NULL, lifted_by TEXT NOT NULL);
