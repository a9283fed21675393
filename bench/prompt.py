#!/usr/bin/env python3
"""Reads the report of bench/prompt.sh: the gap between the true caption and a start prompt, and the part of it that LATINO-PRO
closes, (pro - start) / (true - start), means over pictures with 95 % intervals (bootstrap over pictures).

prompt.py REPORT.csv REPORT-wrong.csv
"""
import collections
import csv
import random
import sys

METRICS = ["psnr", "ssim", "haarpsi"]


def interval(rows, statistic, n=2000):
    draw = random.Random(1)
    v = sorted(statistic([draw.choice(rows) for _ in rows]) for _ in range(n))
    return v[int(.025 * n)], v[int(.975 * n) - 1]


def mean(v):
    return sum(v) / len(v)


def gap(rows):
    return mean([true - start for true, start, _ in rows])


def part(rows):
    g = gap(rows)
    return mean([pro - start for _, start, pro in rows]) / g if g else float("nan")


def main():
    score = collections.defaultdict(dict)
    for path in sys.argv[1:]:
        for row in csv.DictReader(l for l in open(path) if not l.startswith("#")):
            for m in METRICS:
                score[m, row["task"], row["file"]][row["solver"]] = float(row[m])
    tasks = list(dict.fromkeys(t for _, t, _ in score))
    print("| metric | task | last run | start | n | start's | LATINO-PRO's | true caption's | gap | gain | part closed |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for m in METRICS:
        for t in tasks:
            for rule, end in (("matched", ""), ("discrepancy", "-paper")):
                for start in ("wrong", "empty"):
                    names = ["true" + end, start + end, "pro-" + start + end]
                    rows = [tuple(v[k] for k in names) for (a, b, _), v in score.items() if (a, b) == (m, t) and all(k in v for k in names)]
                    if len(rows) < 2:
                        continue
                    cells = ["{:+.3f} [{:+.3f}, {:+.3f}]".format(f(rows), *interval(rows, f))
                             for f in (gap, lambda r: mean([pro - s for _, s, pro in r]))]
                    low, high = interval(rows, gap)
                    closed = "{:.0%} [{:.0%}, {:.0%}]".format(part(rows), *interval(rows, part)) if low * high > 0 else "no gap"
                    true, begin, pro = (mean(v) for v in zip(*rows))
                    print(f"| {m} | {t} | {rule} | {start} | {len(rows)} | {begin:.3f} | {pro:.3f} | {true:.3f} | {cells[0]} | {cells[1]} | {closed} |")


main()
