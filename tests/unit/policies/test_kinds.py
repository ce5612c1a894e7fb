"""Each small kind of policy, a test per sentence of docs/policies.md. Freeze windows, schemas and rates have files of their own."""

from __future__ import annotations

import pytest

from streams.events import Action
from tests.policy_cases import DIGEST, OTHER_DIGEST, case, check_of, code_of

ADDING = [Action.SIGNED, Action.DELETED]
ANNOUNCING = [Action.PACKAGED, Action.PUBLISHED, Action.MODIFIED]


# -- digest_required ---------------------------------------------------------------------------------------------------------------


def test_an_event_without_a_digest_is_told_what_is_missing() -> None:
    """digest.missing, and where a digest may stand."""
    found = check_of("digest_required")(case(digest=None))
    assert found is not None
    assert found.code == "digest.missing"
    assert "checksum" in found.detail


def test_a_digest_is_enough() -> None:
    """A well-formed one is what the policy wants."""
    assert check_of("digest_required")(case()) is None


@pytest.mark.parametrize("digest", ["sha256:ab", DIGEST.upper(), DIGEST + "0", "sha1:" + "a" * 40, "", DIGEST + "\n"])
def test_a_digest_must_be_well_formed(digest: str) -> None:
    """Nothing but sha256 and 64 digits in lower case, whatever let it through before."""
    assert code_of(check_of("digest_required")(case(digest=digest))) == "digest.invalid"


def test_a_deletion_needs_no_digest() -> None:
    """It brings nothing in."""
    assert check_of("digest_required")(case(digest=None, action=Action.DELETED)) is None


# -- digest_immutable --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", list(Action))
def test_a_version_keeps_its_digest(action: Action) -> None:
    """Another digest for a known version is digest.changed, whatever happened to it."""
    check = check_of("digest_immutable")
    assert code_of(check(case(digest=OTHER_DIGEST, known_digest=DIGEST, action=action))) == "digest.changed"
    assert check(case(digest=DIGEST, known_digest=DIGEST, action=action)) is None


def test_what_is_new_or_had_no_digest_may_have_any() -> None:
    """The first digest of a version is the one that counts."""
    assert check_of("digest_immutable")(case()) is None


@pytest.mark.parametrize("action", ANNOUNCING)
def test_announcing_a_version_again_without_its_digest_counts_as_a_change(action: Action) -> None:
    """What cannot be compared may be another thing."""
    assert code_of(check_of("digest_immutable")(case(digest=None, known_digest=DIGEST, action=action))) == "digest.changed"


@pytest.mark.parametrize("action", ADDING)
def test_a_signature_or_a_deletion_may_leave_the_digest_out(action: Action) -> None:
    """They add to what is known."""
    assert check_of("digest_immutable")(case(digest=None, known_digest=DIGEST, action=action)) is None


# -- version_forward ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newest", "version", "code"),
    [
        (None, "0.1.0", None),
        ("1.2.3", "1.2.3", None),
        ("1.2.3", "1.10.0", None),
        ("1.2.3", "v1.2.4", None),
        ("1.2.3", "1.2.2", "version.back"),
        ("1.2.3", "1.2.3-rc.1", "version.back"),
        ("1.2.3-rc.1", "1.2.3", None),
        ("1.2.3+build", "1.2.3", None),
        ("10.0.0", "9.99.99", "version.back"),
        ("1.2.3", "latest", "version.not_semver"),
        (None, "sha-abc", "version.not_semver"),
        ("not-semver", "0.0.1", None),
    ],
)
def test_versions_do_not_go_back(newest: str | None, version: str, code: str | None) -> None:
    """By SemVer against the greatest accepted; the same again is no step back; what is not SemVer is told so."""
    assert code_of(check_of("version_forward")(case(version=version, newest=newest))) == code


@pytest.mark.parametrize("action", ADDING)
def test_a_signature_or_a_deletion_may_be_about_any_version(action: Action) -> None:
    """An old version may be signed late, or deleted."""
    assert check_of("version_forward")(case(version="0.1.0", newest="1.0.0", action=action)) is None


# -- size_limit --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "code"), [(99, None), (100, None), (101, "size.exceeded")])
def test_an_event_may_have_as_many_bytes(size: int, code: str | None) -> None:
    """The limit itself is within it."""
    assert code_of(check_of("size_limit", bytes_max=100)(case(body=b"x" * size))) == code


# -- rate_limit, the engine's half -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("over", "code"), [("", None), ("it", "rate.limited"), ("other", None), ("other,it", "rate.limited"), ("it-too", None)]
)
def test_what_the_bridge_found_over_the_rate_is_limited(over: str, code: str | None) -> None:
    """The stamp names the policies whose rate was exceeded; only those object."""
    assert code_of(check_of("rate_limit", events_per_s=1, burst_events=1)(case(over=over))) == code


# -- allow_deny --------------------------------------------------------------------------------------------------------------------

ARGOCD = "image/ghcr.io/argoproj/argocd"


@pytest.mark.parametrize(
    ("registries", "key", "code"),
    [
        ({"allow": ["ghcr.io"]}, ARGOCD, None),
        ({"allow": ["*.example"]}, ARGOCD, "registry.not_allowed"),
        ({"deny": ["ghcr.io"]}, ARGOCD, "registry.denied"),
        ({"allow": ["*"], "deny": ["ghcr.*"]}, ARGOCD, "registry.denied"),
        ({"deny": ["GHCR.io"]}, ARGOCD, "registry.denied"),
        ({"deny": ["ghcr.io"]}, "image/GHCR.IO/argoproj/argocd", "registry.denied"),
        ({"deny": ["ghcr.io"]}, "image/ghcr.io./argoproj/argocd", "registry.denied"),
        ({"deny": ["ghcr.io"]}, "image/ghcr.io:443/argoproj/argocd", "registry.denied"),
        ({"allow": ["localhost:5000"]}, "image/localhost:5000/app", None),
        ({"deny": ["ghcr.io"]}, "image/user@ghcr.io/argoproj/argocd", "registry.invalid"),
        ({"deny": ["ghcr.io"]}, "image/ɡhcr.io/argoproj/argocd", "registry.invalid"),
        ({"deny": ["ghcr.io"]}, "image/\uff47hcr.io/argoproj/argocd", "registry.invalid"),
        ({"allow": ["ghcr.io"]}, "chart/argo-cd", "registry.not_allowed"),
        ({"allow": ["*"]}, "chart/argo-cd", None),
        ({"allow": ["argo.cd"]}, "chart/argo.cd", "registry.not_allowed"),
    ],
)
def test_registries(registries: dict[str, list[str]], key: str, code: str | None) -> None:
    """Deny wins; hosts have no case, no closing dot and no default port; what is no plain host name is refused; no host matches only `*`."""
    assert code_of(check_of("allow_deny", registries=registries)(case(key))) == code


@pytest.mark.parametrize(
    ("namespaces", "key", "code"),
    [
        ({"allow": ["argoproj"]}, ARGOCD, None),
        ({"deny": ["argoproj"]}, ARGOCD, "namespace.denied"),
        ({"deny": ["argoproj"]}, "image/ghcr.io/ArgoProj/argocd", "namespace.denied"),
        ({"allow": ["team-a/*"]}, "image/ghcr.io/team-a/tools/x", None),
        ({"allow": ["team-a/*"]}, "image/ghcr.io/team-a/x", "namespace.not_allowed"),
        ({"deny": ["library"]}, "image/library/nginx", "namespace.denied"),
        ({"allow": ["*"]}, "image/nginx", None),
    ],
)
def test_namespaces(namespaces: dict[str, list[str]], key: str, code: str | None) -> None:
    """What stands between registry and last segment, without regard to case."""
    assert code_of(check_of("allow_deny", namespaces=namespaces)(case(key))) == code


@pytest.mark.parametrize(
    ("sources", "source", "code"),
    [
        ({"allow": ["urn:k8or:*"]}, "urn:k8or:orbit:c4", None),
        ({"allow": ["urn:k8or:*"]}, "urn:other", "source.not_allowed"),
        ({"allow": ["urn:*"], "deny": ["urn:k8or:test:*"]}, "urn:k8or:test:c4", "source.denied"),
        ({"allow": ["urn:k8or:*"]}, "URN:k8or:x", "source.not_allowed"),
    ],
)
def test_sources(sources: dict[str, list[str]], source: str, code: str | None) -> None:
    """The attribute `source` as it was sent, letter by letter."""
    assert code_of(check_of("allow_deny", sources=sources)(case(source=source))) == code


def test_every_list_has_its_say() -> None:
    """An allowed registry does not make up for a denied source."""
    check = check_of("allow_deny", registries={"allow": ["ghcr.io"]}, sources={"deny": ["urn:test"]})
    assert code_of(check(case(ARGOCD))) == "source.denied"
