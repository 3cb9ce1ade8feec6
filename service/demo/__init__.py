"""A loyalty programme of one year for `loyalty demo`: simulated members, and the deliveries of its vendors. Pure."""
