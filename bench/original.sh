#!/usr/bin/env bash
# One dispatch as the original does it, with bd, jq and curl: each step once, no sleep. Run in a bd workspace, BEADBOARD_URL set.
# It is spared what bash can do without a process more: the busy flag and the job's id are read by matching.
set -euo pipefail
export BEADS_ACTOR=beads-dispatcher

status=$(curl -sS "$BEADBOARD_URL/api/agent-status")
if [[ $status =~ \"busy\":\ *true ]]; then
  echo "claude-agent-service is busy — skipping tick"
  exit 0
fi

id=$(bd query "assignee=agent AND status=open" --json |
  jq -r '[.[] | select((.acceptance_criteria // "") != "")] | sort_by(.priority, .updated_at) | .[0].id // empty')
if [[ -z $id ]]; then
  echo "no eligible beads (assignee=agent, status=open, has acceptance_criteria)"
  exit 0
fi

bd update "$id" -s in_progress
printf -v now '%(%Y-%m-%dT%H:%M:%SZ)T' -1
bd note "$id" "auto-dispatcher claimed at $now"

answer=$(curl -sS -X POST -H 'Content-Type: application/json' -d "{\"taskId\": \"$id\"}" "$BEADBOARD_URL/api/agent-dispatch")
[[ $answer =~ \"job_id\":\ *\"([^\"]*)\" ]]
bd note "$id" "dispatched: job=${BASH_REMATCH[1]}"
echo "dispatched $id as job ${BASH_REMATCH[1]}"
