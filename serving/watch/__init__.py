"""What people and machines see of the endpoints: metrics, logs, traces, drift, and messages when something is wrong."""
