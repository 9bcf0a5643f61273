-- What the operator of the shop grants to the two roles.
grant usage on schema sales to orders_reader, orders_writer;
grant select on sales.orders to orders_reader, orders_writer;
grant insert, update on sales.orders to orders_writer;
