"""An OpenID Connect provider on loopback: discovery, keys, tokens, and bad days."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "slidekin"


class Issuer:
    """Answers like a provider while it is ``up``, and counts who asks.

    Args:
        certificate: Of its HTTPS; None: it speaks HTTP.
    """

    def __init__(self, certificate: trustme.LeafCert | None = None) -> None:
        self.keys: dict[str, Any] = {}
        self.asked = 0
        self.discovered = 0
        self.up = True
        self.hold_s = 0.0
        """How long an answer takes."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        scheme = "http"
        if certificate is not None:
            scheme = "https"
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.show(certificate)
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self.keys_url = f"{self.url}/keys"
        """Where its discovery document says that its keys are."""
        self.rotate("first")

    def show(self, certificate: trustme.LeafCert) -> None:
        """Show this certificate from now on."""
        certificate.configure_cert(self._tls)

    def rotate(self, key_id: str, *, curve: bool = False) -> None:
        """Sign with a new key from now on; the ones before are withdrawn."""
        private = (
            ec.generate_private_key(ec.SECP256R1())
            if curve
            else rsa.generate_private_key(65537, 2048)
        )
        self.keys = {key_id: private}

    def token(self, subject: str = "jane", *, key: Any = None, **claims: Any) -> str:
        """A token that is right, but for what is stated otherwise."""
        key_id, private = next(iter(self.keys.items()))
        stated = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": subject,
            "exp": time.time() + 300,
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in stated.items() if value is not None},
            key or private,
            algorithm=self._algorithm(private),
            headers={"kid": key_id},
        )

    @contextlib.contextmanager
    def serving(self) -> Iterator[Issuer]:
        """Answer until the end."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    @staticmethod
    def _algorithm(private: Any) -> str:
        return "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256"

    def _documents(self) -> dict[str, Any]:
        keys = []
        for key_id, private in self.keys.items():
            algorithm = RSAAlgorithm if self._algorithm(private) == "RS256" else ECAlgorithm
            public = json.loads(algorithm.to_jwk(private.public_key()))
            keys.append({**public, "kid": key_id, "use": "sig", "alg": self._algorithm(private)})
        discovery = {"issuer": self.url, "jwks_uri": self.keys_url}
        return {"/.well-known/openid-configuration": discovery, "/keys": {"keys": keys}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += self.path == "/keys"
                issuer.discovered += self.path == "/.well-known/openid-configuration"
                time.sleep(issuer.hold_s)
                document = issuer._documents().get(self.path)
                body = json.dumps(document).encode()
                self.send_response(200 if issuer.up and document else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        return Handler
