"""The report of `cpdjax reproduce`: findings, tables and figures, as Markdown, HTML and CSV."""

from __future__ import annotations

from pathlib import Path

from cpdjax.files import write_csv
from cpdjax.reports.figures import write
from cpdjax.reports.findings.figures import plot_all
from cpdjax.reports.findings.sections import sections
from cpdjax.reports.findings.tables import all_tables
from cpdjax.reports.pages import imprint, page
from cpdjax.studies.reproduction import Reproduction

TABLES = "tables"
"""The folder of the tables that documentation quotes, inside that of the report."""


def save(found: Reproduction, folder: str | Path, command: str = "") -> list[Path]:
    """Write `report.md`, `report.html`, their figures, and `tables/*.csv`; return the paths."""
    folder = Path(folder)
    figures = write(plot_all(found.measured), folder)
    origin = imprint.of_table(found.table, command)
    pages = page.save(sections(found), figures, folder, "report", origin)
    (folder / TABLES).mkdir(exist_ok=True)
    kept = [
        write_csv(table, folder / TABLES / f"{name}.csv")
        for name, table in all_tables(found).items()
    ]
    return [*pages, *figures, *kept]
