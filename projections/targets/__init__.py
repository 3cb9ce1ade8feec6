"""Targets that customers reach: milestones, groups of milestones, and streaks."""
