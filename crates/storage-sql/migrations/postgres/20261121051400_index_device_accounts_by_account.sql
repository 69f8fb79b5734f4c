CREATE INDEX device_accounts_by_account ON device_accounts (account_id);
