"""Takes deliveries in: verify, parse, hand to the one writer, answer when it has committed."""
