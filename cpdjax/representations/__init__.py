"""Compare the representation spaces of encoders, channel by channel, beyond composition."""
