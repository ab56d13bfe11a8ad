"""Which proxy a connection takes."""

import pytest

from client import AgentClient, CannotConnect
from client.proxies import proxy_for

VARIABLES = [f"{name}_proxy" for name in ("http", "https", "all", "no")]
PROXY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:2024",
        "http://agent.localhost",
        "http://127.0.0.1:2024",
        "http://127.8.8.8",
        "http://[::1]:2024",
        "http://0.0.0.0:2024",
        "https://LOCALHOST.:2024/v1",
    ],
)
def test_this_machine_needs_no_proxy(environment: pytest.MonkeyPatch, url: str) -> None:
    """Loopback goes through no proxy, though no variable excepts it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        environment.setenv(name, PROXY)
    assert proxy_for(url) is None


@pytest.mark.parametrize(
    ("excepted", "url"),
    [
        ("example.com", "http://example.com"),
        (".example.com", "http://api.example.com"),
        ("*.example.com", "http://api.example.com"),
        ("example.com", "http://api.example.com"),
        ("a.com, example.com:8080", "http://example.com:8080"),
        ("*", "http://example.com"),
        ("10.0.0.0/8", "http://10.1.2.3"),
        ("10.1.2.3", "http://10.1.2.3:8000"),
        ("fd00::/8", "http://[fd00::7]:8000"),
        ("[fd00::7]", "http://[fd00::7]:8000"),
        ("[::1],fd00::7", "http://[fd00::7]"),
    ],
)
def test_no_proxy_excepts(environment: pytest.MonkeyPatch, excepted: str, url: str) -> None:
    """NO_PROXY may hold names, suffixes, ports, addresses and networks, IPv6 with brackets too."""
    environment.setenv("HTTP_PROXY", PROXY)
    assert proxy_for(url) == ("HTTP_PROXY", PROXY)
    environment.setenv("NO_PROXY", excepted)
    assert proxy_for(url) is None


@pytest.mark.parametrize("excepted", ["ample.com", "10.0.0.0/16", "[::1]", "fd00::/8", "nonsense/"])
def test_others_are_not_excepted(environment: pytest.MonkeyPatch, excepted: str) -> None:
    """What NO_PROXY does not name takes the proxy."""
    environment.setenv("HTTP_PROXY", PROXY)
    environment.setenv("NO_PROXY", excepted)
    for url in ("http://example.com", "http://10.1.2.3", "http://[fe80::1]"):
        assert proxy_for(url) == ("HTTP_PROXY", PROXY)


def test_the_variable_is_the_schemes_own(environment: pytest.MonkeyPatch) -> None:
    """Each scheme has its variable, ALL_PROXY is for the rest, and a scheme may be left out."""
    environment.setenv("all_proxy", "proxy.example:3128")
    environment.setenv("HTTPS_PROXY", "http://tls.example:3128")
    assert proxy_for("https://example.com") == ("HTTPS_PROXY", "http://tls.example:3128")
    assert proxy_for("http://example.com") == ("all_proxy", "http://proxy.example:3128")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://127.0.0.1", "http://a:b"])
def test_a_proxy_that_cannot_be_used_is_named(environment: pytest.MonkeyPatch, proxy: str) -> None:
    """One line names the variable; a server on this machine is not concerned."""
    environment.setenv("ALL_PROXY", proxy)
    with pytest.raises(CannotConnect, match="ALL_PROXY") as caught:
        AgentClient("http://example.com")
    assert "\n" not in caught.value.message
    AgentClient("http://127.0.0.1:2024")
