//! Which leases there should be: shards are compared with the table.
