"""One module a section of the report; `reports.document.SECTIONS` is their order, and the place for a new one."""
