"""The control loop: track state, observe, plan, execute. The service runs it again and again."""
