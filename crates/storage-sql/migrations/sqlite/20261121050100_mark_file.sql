-- "Bwrb": says whose file this is, so that no other program's database is taken for ours.
PRAGMA application_id = 0x42777262;
