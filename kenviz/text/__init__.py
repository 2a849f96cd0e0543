"""Words and numbers that views and the report have in common: names, measures, digits, a glossary."""
