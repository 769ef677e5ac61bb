"""A demonstration in a few seconds: a tracker, a service and an agent, all local."""
