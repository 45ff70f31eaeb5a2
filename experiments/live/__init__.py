"""The physical part of the lab: networks, weak CPUs and busy neighbours that really exist, made and removed here."""
