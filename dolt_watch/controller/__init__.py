"""The control loop: track the state, observe, plan, execute. The service runs it repeatedly."""
