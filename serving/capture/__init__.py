"""What callers said, kept for a limited time for replays and corrections: encrypted, sampled, off by default."""
