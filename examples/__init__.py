"""Programs that show what honeyflow does; none of them is part of the library."""
