"""The lists that are also written as CSV and NDJSON; the route table and the command `export` name them from here."""

from receiver.web import answers, params
from receiver.web.breakdowns import bounce_fields, bounce_rows, reply_rows
from receiver.web.campaigns import campaign_rows, step_rows
from receiver.web.events import event_rows
from receiver.web.operation import Table
from receiver.web.quarantine import quarantine_rows

CAMPAIGNS = Table("campaigns", params.CampaignsParams, answers.Campaign, campaign_rows)
STEPS = Table("steps", params.StepsParams, answers.Step, step_rows, path=("campaign_id",))
EVENTS = Table("events", params.EventsParams, answers.EventRow, event_rows)
QUARANTINE = Table("quarantine", params.QuarantineParams, answers.QuarantineRow, quarantine_rows)
BOUNCES = Table("bounces", params.BouncesParams, answers.BounceRow, bounce_rows, fields=bounce_fields)
REPLIES = Table("replies", params.RepliesParams, answers.ReplyRow, reply_rows)
