"""The classes of the road-sign model, in the order of its logits."""

NO_KNOWN_SIGN = "no known sign"

LABELS = (
    "stop",
    "yield",
    "no entry",
    "speed limit 30",
    "speed limit 50",
    "speed limit 80",
    "pedestrian crossing",
    "turn left ahead",
    "turn right ahead",
    "roundabout",
    "parking",
    NO_KNOWN_SIGN,
)
