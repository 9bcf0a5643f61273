#include "config/kong_properties.h"

#include "base/attr.h"
#include "config/schema.h"

enum group {
    NGINX,
    LUA,
    ADMIN,
    HYBRID,
    LOGS,
    PLUGINS,
    ADDRESSES,
    CIPHERS,
    ANSWERS,
    CACHES,
    RESOLVER,
    UPSTREAMS,
    PORTAL,
    REPORTS,
    LOGINS,
    VAULTS,
    KEYRING,
    FILES,
};

static const struct kong_group groups[] = {
    [NGINX] = {"nginx", "there is no nginx here; 'workers' and 'max_connections' are of this file"},
    [LUA] = {"Lua", "there is no Lua here"},
    [ADMIN] = {"Admin API and Kong Manager",
               "there is no Admin API: what is served is a file, or comes by 'config db_import'"},
    [HYBRID] = {"hybrid mode", "there is no control plane: every node reads the database itself"},
    [LOGS] = {"logs", "the log goes to standard error (log_level, log_format), calls to the audit"},
    [PLUGINS] = {"plugins", "those that are there need no switch, and no code is loaded "
                            "(docs/PLUGINS.md)"},
    [ADDRESSES] = {"addresses", "the address of a caller is that of the connection, and "
                                "proxy_listen and status_listen are the only doors"},
    [CIPHERS] = {"TLS of the proxy", "TLS 1.2 and 1.3 with forward secrecy are spoken, by "
                                     "ssl_cert and ssl_cert_key"},
    [ANSWERS] = {"headers and error pages", "answers are JSON, errors application/problem+json"},
    [CACHES] = {"caches", "a node holds its whole configuration, and hears of changes at once"},
    [RESOLVER] = {"DNS", "names are looked up as the system does"},
    [UPSTREAMS] = {"upstreams", "a service's connections are set by its 'pool'"},
    [PORTAL] = {"Developer Portal and mail", "there is no portal, and no mail is sent"},
    [REPORTS] = {"reports and traces",
                 "nothing is reported anywhere; /metrics is on status_listen"},
    [LOGINS] = {"other clouds", "the login to the database is by a password or pg_iam_auth"},
    [VAULTS] = {"vaults", "the vaults are env, file and aws; they are there without being named"},
    [KEYRING] = {"keyring", "keys are where keyring_key and keyring_previous_keys say"},
    [FILES] = {"files", "a node keeps what it needs in its prefix"},
};

struct row {
    const char *name; /* a '*' at an end: whatever begins, or ends, with the rest */
    enum group group;
};

/* The first that fits counts. */
static const struct row rows[] = {
    {"nginx_*", NGINX},
    {"*_access_log", LOGS},
    {"*_error_log", LOGS},
    {"error_log", LOGS},
    {"debug_*", ADMIN},
    {"admin_*", ADMIN},
    {"rbac_*", ADMIN},
    {"enforce_rbac", ADMIN},
    {"audit_log", ADMIN},
    {"audit_log_*", ADMIN},
    {"event_hooks_enabled", ADMIN},
    {"route_validation_strategy", ADMIN},
    {"enforce_route_path_pattern", ADMIN},
    {"mem_cache_size", NGINX},
    {"consumers_mem_cache_size", NGINX},
    {"client_body_buffer_size", NGINX},
    {"openresty_path", NGINX},
    {"legacy_worker_events", NGINX},
    {"worker_events_max_payload", NGINX},
    {"dedicated_config_processing", NGINX},
    {"lua_max_*", LUA},
    {"lua_package_*", LUA},
    {"lua_socket_*", LUA},
    {"lua_ssl_protocols", LUA},
    {"untrusted_lua", LUA},
    {"untrusted_lua_*", LUA},
    {"plugins", PLUGINS},
    {"pluginserver_*", PLUGINS},
    {"wasm", PLUGINS},
    {"wasm_*", PLUGINS},
    {"ai_*", PLUGINS},
    {"identity_service", PLUGINS},
    {"max_queued_batches", PLUGINS},
    {"max_retry_after", PLUGINS},
    {"role", HYBRID},
    {"kic", HYBRID},
    {"rpc", HYBRID},
    {"rpc_sync", HYBRID},
    {"incremental_sync", HYBRID},
    {"cluster_*", HYBRID},
    {"konnect_*", HYBRID},
    {"data_plane_config_cache_mode", HYBRID},
    {"declarative_config_encryption_mode", HYBRID},
    {"allow_inconsistent_data_plane_plugins", HYBRID},
    {"privileged_agent", HYBRID},
    {"stream_listen", ADDRESSES},
    {"port_maps", ADDRESSES},
    {"host_ports", ADDRESSES},
    {"trusted_ips", ADDRESSES},
    {"real_ip_header", ADDRESSES},
    {"real_ip_recursive", ADDRESSES},
    {"proxy_url", ADDRESSES},
    {"ssl_cert_key_default", CIPHERS},
    {"ssl_cipher_suite", CIPHERS},
    {"ssl_ciphers", CIPHERS},
    {"ssl_dhparam", CIPHERS},
    {"ssl_prefer_server_ciphers", CIPHERS},
    {"ssl_protocols", CIPHERS},
    {"ssl_session_cache_size", CIPHERS},
    {"ssl_session_tickets", CIPHERS},
    {"ssl_session_timeout", CIPHERS},
    {"status_ssl_cert", CIPHERS},
    {"status_ssl_cert_key", CIPHERS},
    {"tls_certificate_verify", CIPHERS},
    {"fips", CIPHERS},
    {"headers", ANSWERS},
    {"headers_upstream", ANSWERS},
    {"error_default_type", ANSWERS},
    {"error_template_html", ANSWERS},
    {"error_template_json", ANSWERS},
    {"error_template_plain", ANSWERS},
    {"error_template_xml", ANSWERS},
    {"allow_debug_header", ANSWERS},
    {"request_debug", ANSWERS},
    {"request_debug_token", ANSWERS},
    {"db_cache_neg_ttl", CACHES},
    {"db_cache_ttl", CACHES},
    {"db_cache_warmup_entities", CACHES},
    {"db_resurrect_ttl", CACHES},
    {"db_update_frequency", CACHES},
    {"db_update_propagation", CACHES},
    {"router_consistency", CACHES},
    {"router_flavor", CACHES},
    {"worker_consistency", CACHES},
    {"worker_state_update_frequency", CACHES},
    {"dns_*", RESOLVER},
    {"resolver_*", RESOLVER},
    {"new_dns_client", RESOLVER},
    {"client_ssl", UPSTREAMS},
    {"client_ssl_cert", UPSTREAMS},
    {"client_ssl_cert_key", UPSTREAMS},
    {"upstream_keepalive_*", UPSTREAMS},
    {"proxy_server", UPSTREAMS},
    {"proxy_server_ssl_verify", UPSTREAMS},
    {"portal", PORTAL},
    {"portal_*", PORTAL},
    {"smtp_*", PORTAL},
    {"anonymous_reports", REPORTS},
    {"vitals", REPORTS},
    {"vitals_*", REPORTS},
    {"analytics_*", REPORTS},
    {"opentelemetry_*", REPORTS},
    {"tracing", REPORTS},
    {"tracing_*", REPORTS},
    {"generate_trace_details", REPORTS},
    {"pg_azure_*", LOGINS},
    {"pg_gcp_*", LOGINS},
    {"pg_oauth_*", LOGINS},
    {"pg_ro_azure_*", LOGINS},
    {"pg_ro_gcp_*", LOGINS},
    {"pg_ro_oauth_*", LOGINS},
    {"vaults", VAULTS},
    {"vaults_lazy_load_secrets", VAULTS},
    {"vault_*", VAULTS},
    {"keyring_blob_path", KEYRING},
    {"keyring_encrypt_license", KEYRING},
    {"keyring_private_key", KEYRING},
    {"keyring_public_key", KEYRING},
    {"keyring_recovery_public_key", KEYRING},
    {"keyring_strategy", KEYRING},
    {"keyring_vault_*", KEYRING},
    {"declarative_config_string", FILES},
    {"feature_conf_path", FILES},
    {"license_path", FILES},
    {"license_data", FILES},
    {"lmdb_environment_path", FILES},
    {"lmdb_map_size", FILES},
    {"node_id", FILES},
    {"socket_path", FILES},
};

static bool fits(const char *pattern, struct view name)
{
    struct view p = view_str(pattern);

    if (p.data[0] == '*')
        return name.len > p.len - 1 && view_ends_with(name, view_from(p, 1));
    if (p.data[p.len - 1] == '*')
        return name.len > p.len - 1 && view_starts_with(name, view_upto(p, p.len - 1));
    return view_eq(name, p);
}

const struct kong_group *kong_property_group(struct view name)
{
    /* All of these two are ours too, so that another name is a slip. */
    if (view_starts_with(name, VIEW("vault_aws_")) || view_starts_with(name, VIEW("vault_env_")) ||
        schema_field(&schema_node, name) != NULL)
        return NULL;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (fits(rows[i].name, name))
            return &groups[rows[i].group];
    }
    return NULL;
}

bool kong_property_known(struct view name)
{
    return kong_property_group(name) != NULL;
}
