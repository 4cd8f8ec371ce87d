"""`make bench`: measures taskapi, its alternatives and its limits, and writes benchmarks/results.md."""

import argparse
import tempfile
from pathlib import Path

from benchmarks import complete_history, costs, growth, owners, percentiles, scale, throughput
from benchmarks.lab import Postgres
from benchmarks.report import Report
from benchmarks.wrk import require_wrk

RESULTS = Path(__file__).with_name("results.md")

PARTS = ("costs", "percentiles", "growth", "history", "owners", "scale", "throughput")


def main() -> None:
    """Run the parts that are asked for. Only a whole run is written to the results."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"only these, and print them: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="only show that it works: the figures mean nothing")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}")
    require_wrk()
    parts = options.parts or PARTS
    rounds, seconds = (1, 1) if options.quick else (3, 3)
    report = Report()
    with Postgres() as postgres, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "throughput" in parts:
            throughput.run(report, postgres, folder, rounds=rounds, seconds=seconds)
        if "costs" in parts:
            costs.run(report, postgres, folder, rounds=rounds, seconds=seconds, quick=options.quick)
        if "percentiles" in parts:
            percentiles.run(report, postgres, folder, rounds=rounds, seconds=seconds)
        if "growth" in parts:
            growth.run(report, postgres, folder, rounds=rounds, seconds=seconds, quick=options.quick)
        if "history" in parts:
            complete_history.run(report, postgres, quick=options.quick)
        if "owners" in parts:
            owners.run(report, postgres, folder, quick=options.quick)
        if "scale" in parts:
            scale.run(report, postgres, folder, rounds=rounds, seconds=seconds, quick=options.quick)
    if options.quick or options.parts:
        print(report.text())
    else:
        report.write(RESULTS)
        print(f"Written to {RESULTS}")


if __name__ == "__main__":
    main()
