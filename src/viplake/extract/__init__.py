"""From the vendor to the lake: one ExportJob an Hour, from its trigger to its proof."""
