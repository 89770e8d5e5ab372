"""Who looks on: monitors, the non-finite guard, live findings, alerts."""
