"""The lists that are also written as CSV and NDJSON; the route table and the command `export` name them from here."""

from receiver.web import answers, insights, params
from receiver.web.breakdowns import bounce_fields, bounce_rows, reply_rows
from receiver.web.campaigns import campaign_rows, step_rows
from receiver.web.drift import drift_of_campaign, drift_rows
from receiver.web.events import event_rows
from receiver.web.operation import Table
from receiver.web.quarantine import quarantine_rows
from receiver.web.reconciliations import run_fields, run_rows
from receiver.web.series import series_fields, series_rows

CAMPAIGNS = Table("campaigns", params.CampaignsParams, answers.Campaign, campaign_rows)
STEPS = Table("steps", params.StepsParams, answers.Step, step_rows, path=("campaign_id",))
SERIES = Table("series", params.SeriesParams, insights.SeriesRow, series_rows, fields=series_fields)
EVENTS = Table("events", params.EventsParams, answers.EventRow, event_rows)
QUARANTINE = Table("quarantine", params.QuarantineParams, answers.QuarantineRow, quarantine_rows)
BOUNCES = Table("bounces", params.BouncesParams, insights.BounceRow, bounce_rows, fields=bounce_fields)
REPLIES = Table("replies", params.RepliesParams, insights.ReplyRow, reply_rows)
DRIFT = Table("drift", params.DriftParams, insights.DriftRow, drift_rows)
DRIFT_OF_CAMPAIGN = Table(
    "campaign-drift", params.DriftOfCampaignParams, insights.DriftRow, drift_of_campaign, path=("campaign_id",)
)
RECONCILIATIONS = Table(
    "reconciliations", params.ReconciliationsParams, insights.Reconciliation, run_rows, fields=run_fields
)
