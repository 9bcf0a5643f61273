-- Who may do what in the shop.  The login owns nothing, inherits nothing, and may only become
-- one of the two roles; a member of rds_iam can log in by an IAM token alone.
create role app login noinherit;
grant rds_iam to app;

create role orders_reader nologin;
create role orders_writer nologin;
grant orders_reader, orders_writer to app;
