#include "config/kong_properties.h"

#include "base/attr.h"

/* From kong.conf.default of Kong 3.9 and the Enterprise properties of 3.15. */
static const char *const names[] = {
    "admin_access_log", "admin_error_log", "admin_gui_auth", "admin_gui_host", "admin_gui_listen",
    "admin_gui_origin", "admin_gui_path", "admin_gui_url", "admin_listen", "admin_ssl_cert",
    "admin_ssl_cert_key", "allow_debug_header", "anonymous_reports", "audit_log",
    "client_body_buffer_size",
    "client_ssl", "client_ssl_cert", "client_ssl_cert_key", "data_plane_config_cache_mode",
    "db_cache_neg_ttl", "db_cache_ttl", "db_cache_warmup_entities", "db_resurrect_ttl",
    "db_update_frequency", "db_update_propagation", "declarative_config_encryption_mode",
    "declarative_config_string", "dedicated_config_processing", "enforce_rbac",
    "error_default_type",
    "error_log", "error_template_html", "error_template_json", "error_template_plain",
    "error_template_xml", "headers", "headers_upstream", "host_ports", "keyring_enabled",
    "kic", "license_path", "lmdb_environment_path", "lmdb_map_size", "lua_max_post_args",
    "lua_max_req_headers", "lua_max_resp_headers", "lua_max_uri_args", "lua_package_cpath",
    "lua_package_path", "lua_socket_pool_size", "lua_ssl_protocols", "max_queued_batches",
    "max_retry_after", "mem_cache_size",
    "nginx_daemon", "nginx_main_daemon", "nginx_user", "nginx_worker_processes",
    "node_id", "openresty_path", "pluginserver_names", "plugins", "port_maps", "portal",
    "privileged_agent", "proxy_access_log", "proxy_error_log", "proxy_server",
    "proxy_server_ssl_verify", "proxy_stream_access_log", "proxy_stream_error_log",
    "real_ip_header", "real_ip_recursive", "request_debug", "request_debug_token",
    "resolver_address",
    "resolver_error_ttl", "resolver_family", "resolver_hosts_file", "resolver_lru_cache_size",
    "resolver_mem_cache_size", "resolver_not_found_ttl", "resolver_stale_ttl", "resolver_valid_ttl",
    "role", "route_validation_strategy", "router_consistency", "router_flavor",
    "rpc", "rpc_sync", "socket_path", "ssl_cert_key_default", "ssl_cipher_suite", "ssl_ciphers",
    "ssl_dhparam", "ssl_prefer_server_ciphers", "ssl_protocols", "ssl_session_cache_size",
    "ssl_session_tickets", "ssl_session_timeout", "status_access_log", "status_error_log",
    "status_ssl_cert", "status_ssl_cert_key", "stream_listen", "tls_certificate_verify",
    "tracing_instrumentations", "tracing_sampling_rate", "trusted_ips", "untrusted_lua",
    "untrusted_lua_sandbox_environment", "untrusted_lua_sandbox_requires",
    "upstream_keepalive_idle_timeout", "upstream_keepalive_max_requests",
    "upstream_keepalive_pool_size", "vaults", "vaults_lazy_load_secrets", "vitals",
    "worker_consistency", "worker_events_max_payload", "worker_state_update_frequency",
    "wasm", "wasm_filters_path", "wasm_filters", "wasm_dynamic_module", "cluster_cert",
    "cluster_cert_key",
};

static const char *const families[] = {
    "pg_azure_", "pg_gcp_", "pg_oauth_", "pg_ro_azure_", "pg_ro_gcp_", "pg_ro_oauth_",
    "vault_", "nginx_",  "cluster_", "dns_",   "opentelemetry_", "pluginserver_",
    "admin_gui_", "portal_", "smtp_",  "keyring_", "audit_log_", "analytics_", "konnect_",
    "wasm_",     "tracing_", "rbac_",  "vitals_",  "ai_",
};

bool kong_property_known(struct view name)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (view_is(name, names[i]))
            return true;
    }
    /* All of these are ours too, so that another name is a slip. */
    if (view_starts_with(name, VIEW("vault_aws_")) || view_starts_with(name, VIEW("vault_env_")))
        return false;
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        if (view_starts_with(name, view_str(families[i])) &&
            name.len > view_str(families[i]).len)
            return true;
    }
    return false;
}
