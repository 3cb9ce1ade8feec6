"""Questions about facts and rows at other times: as of, explain, roll-forward."""
