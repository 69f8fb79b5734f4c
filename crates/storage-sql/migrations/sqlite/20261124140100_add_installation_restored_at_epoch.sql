-- The epoch that an instance had seen when it found this database behind it; NULL once an operator has confirmed.
ALTER TABLE installation ADD COLUMN restored_at_epoch INTEGER;
