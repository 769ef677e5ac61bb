"""Read-only answers: status, events, why, report, doctor."""
