"""What to change in which proxy, by what is wrong. The words are those of the proxies' manuals."""

from collections.abc import Mapping

REMEDIES: Mapping[str, Mapping[str, str]] = {
    "body limit": {
        "nginx": "client_max_body_size 0;",
        "Caddy": "remove request_body { max_size ... }",
        "Traefik": "no buffering middleware with maxRequestBodyBytes",
        "Apache": "LimitRequestBody 0",
    },
    "request buffering": {
        "nginx": "proxy_request_buffering off; with proxy_http_version 1.1;",
        "Caddy": "remove request_buffers",
        "Traefik": "no buffering middleware",
        "Apache": "remove SetEnv proxy-sendcl, and mod_security's SecRequestBodyAccess",
    },
    "answer timeout": {
        "nginx": "proxy_read_timeout 300s;",
        "Caddy": "reverse_proxy { transport http { response_header_timeout 300s } }",
        "Traefik": "serversTransport.forwardingTimeouts.responseHeaderTimeout: 300s",
        "Apache": "ProxyTimeout 300",
    },
    "body timeout": {
        "nginx": "client_body_timeout 300s;",
        "Caddy": "servers { timeouts { read_body 0 } }",
        "Traefik": "entryPoints.<name>.transport.respondingTimeouts.readTimeout: 0",
        "Apache": "RequestReadTimeout body=0",
    },
    "host": {
        "nginx": "proxy_set_header Host $http_host;",
        "Caddy": "remove header_up Host",
        "Traefik": "passHostHeader: true",
        "Apache": "ProxyPreserveHost On",
    },
    "scheme": {
        "nginx": "proxy_set_header X-Forwarded-Proto $scheme;",
        "Caddy": "remove header_up X-Forwarded-Proto",
        "Traefik": "entryPoints.<name>.forwardedHeaders.trustedIPs: [the proxy in front]",
        "Apache": "RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}",
    },
    "client address": {
        "nginx": "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "Caddy": "remove header_up X-Forwarded-For",
        "Traefik": "entryPoints.<name>.forwardedHeaders.insecure: false",
        "Apache": "ProxyAddHeaders On",
    },
    "headers": {
        "nginx": "remove the proxy_set_header line with an empty value for it",
        "Caddy": "remove header_up -<name>",
        "Traefik": "remove it from customRequestHeaders",
        "Apache": "remove RequestHeader unset <name>",
    },
    "methods": {
        "nginx": "remove limit_except, and dav_methods",
        "Caddy": "remove the method matcher",
        "Traefik": "remove Method(...) from the router's rule",
        "Apache": "remove <Limit> and <LimitExcept>",
    },
    "ranges": {
        "nginx": "remove proxy_set_header Range and If-Range, and proxy_cache",
        "Caddy": "remove header_up -Range",
        "Traefik": "remove Range from customRequestHeaders",
        "Apache": "remove RequestHeader unset Range, and MaxRanges none",
    },
    "caching": {
        "nginx": "proxy_cache off; without proxy_ignore_headers Cache-Control",
        "Caddy": "remove the cache handler",
        "Traefik": "remove the cache plugin",
        "Apache": "CacheDisable /",
    },
}


def remedy(fault: str, *, server: str) -> str:
    """What to change in the proxy whose `Server` header is given, or in each if it is unknown."""
    lines = REMEDIES[fault]
    known = next((name for name in lines if name.lower() in server.lower()), None)
    if known:
        return f"{known}: {lines[known]}"
    return "; ".join(f"{name}: {line}" for name, line in lines.items())
