"""Who may call: access keys, their rights and rates, and the log of what they did."""
