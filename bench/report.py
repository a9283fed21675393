#!/usr/bin/env python3
"""Prints the table of results from the CSV of bench/table: mean PSNR and SSIM with the half width of the 95 % interval.

report.py REPORT.csv [METHOD ...]
"""
import collections
import math
import sys


def main():
    rows = collections.defaultdict(list)
    for line in open(sys.argv[1]):
        task, method, _, psnr, ssim, calls, seconds = line.rstrip().split(",")
        rows[task, method].append((min(float(psnr), 100), float(ssim), float(seconds)))
    tasks = list(dict.fromkeys(t for t, _ in rows))
    methods = sys.argv[2:] or list(dict.fromkeys(m for _, m in rows))
    print("| task | n |" + "".join(f" {m} |" for m in methods))
    print("|---|---|" + "---|" * len(methods))
    for t in tasks:
        cells, n = [], 0
        for m in methods:
            v = rows.get((t, m))
            if not v:
                cells.append("")
                continue
            n = len(v)
            mean = [sum(c) / n for c in zip(*v)]
            sd = math.sqrt(sum((p[0] - mean[0]) ** 2 for p in v) / max(n - 1, 1))
            cells.append(f"{mean[0]:.2f} ± {1.96 * sd / math.sqrt(n):.2f} / {mean[1]:.3f}")
        print(f"| {t} | {n} |" + "".join(f" {c} |" for c in cells))


main()
