"""From the ledger's champions to answers over HTTP."""
