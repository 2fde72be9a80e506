"""Classify photos of one airline with its fleet as a prior, next to what the network alone predicts.

python fleet_prior.py fleet.csv AIRLINE photo.jpg... [HOST:PORT]
"""

import sys

from planespotter_client import DEFAULT_ADDRESS, PlaneSpotter, Prior


def main(fleet: str, airline: str, photos: list[str], address: str = DEFAULT_ADDRESS) -> None:
    """Print both predictions of each photo."""
    prior = Prior.from_fleet(fleet, airline=airline)
    with PlaneSpotter(address) as spotter:
        for result in spotter.stream(photos, prior=prior, preserve_order=True):
            prediction = result.result()
            names = " ".join(node.name for node in prediction.path)
            alone = " ".join(node.name for node in prediction.network_path)
            print(f"{result.photo_id}: {names} ({prediction.evidence}), {alone} (network)")


if __name__ == "__main__":
    *photos, last = sys.argv[3:] or [""]
    if not last:
        print("usage: python fleet_prior.py fleet.csv AIRLINE photo.jpg... [HOST:PORT]", file=sys.stderr)
        sys.exit(2)
    if photos and ":" in last:
        main(sys.argv[1], sys.argv[2], photos, last)
    else:
        main(sys.argv[1], sys.argv[2], [*photos, last])
