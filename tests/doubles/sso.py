"""Doubles of IAM Identity Center: the portal (GetRoleCredentials) and SSO-OIDC (CreateToken)."""

import json
import secrets
import urllib.parse

from doubles.aws import Double, reply_json


def refuse(status, name, message):
    """As the portal refuses; `__type` beside the header, which the double cannot send."""
    return reply_json({"__type": name, "message": message}, status)


class Portal(Double):
    """Gives credentials of (account, role) to whoever brings a known token."""

    def __init__(self, on_mint=None):
        super().__init__(on_mint)
        self.tokens = set()
        self.roles = {("123456789012", "shop reader")}

    def answer(self, request):
        query = dict(urllib.parse.parse_qsl(request.query, strict_parsing=bool(request.query)))
        if (request.method, request.path) != ("GET", "/federation/credentials"):
            return refuse(404, "ResourceNotFoundException", "no such path")
        if request.headers.get("x-amz-sso_bearer_token") not in self.tokens:
            return refuse(401, "UnauthorizedException", "Session token not found or invalid")
        if (query.get("account_id"), query.get("role_name")) not in self.roles:
            return refuse(403, "ForbiddenException", "No access")
        session = self.mint()
        return reply_json(
            {
                "roleCredentials": {
                    "accessKeyId": session.access_key_id,
                    "secretAccessKey": session.secret_access_key,
                    "sessionToken": session.session_token,
                    "expiration": int(session.expiration.timestamp() * 1000),
                }
            }
        )


class Oidc(Double):
    """Trades a refresh token, once, for an access token that the portal then knows."""

    def __init__(self, portal):
        super().__init__()
        self.portal = portal
        self.client = ("client-" + secrets.token_urlsafe(8), secrets.token_urlsafe(200))
        self.refresh_tokens = set()
        self.created = []

    def answer(self, request):
        if (request.method, request.path) != ("POST", "/token"):
            return refuse(404, "ResourceNotFoundException", "no such path")
        asked = json.loads(request.body)
        if (asked.get("clientId"), asked.get("clientSecret")) != self.client:
            return self._refuse("invalid_client", "the client is not known", 401)
        if asked.get("grantType") != "refresh_token":
            return self._refuse("unsupported_grant_type", "only refresh_token")
        if asked.get("refreshToken") not in self.refresh_tokens:
            return self._refuse("invalid_grant", "the refresh token is not known")
        self.refresh_tokens.remove(asked["refreshToken"])
        created = {
            "accessToken": secrets.token_urlsafe(300),
            "tokenType": "Bearer",
            "expiresIn": 28800,
            "refreshToken": secrets.token_urlsafe(300),
        }
        self.portal.tokens.add(created["accessToken"])
        self.refresh_tokens.add(created["refreshToken"])
        self.created.append(created)
        return reply_json(created)

    @staticmethod
    def _refuse(error, text, status=400):
        return reply_json({"error": error, "error_description": text}, status)
