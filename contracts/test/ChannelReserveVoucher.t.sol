// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";

interface IEncodings {
    function toBase64URL(bytes calldata data) external pure returns (string memory);
}

/// Which signatures the reserve takes: those of TIP-1020, by the channel's signer, over the channel's voucher.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveVoucherTest is ChannelReserveBase {
    IEncodings private constant encodings = IEncodings(address(vm));
    uint256 private constant SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    uint256 private constant P256_KEY = 0x256;
    uint256 private constant P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;

    function assertRefused(ChannelReserve.ChannelDescriptor memory d, uint96 amount, bytes memory signature) private {
        expectRevert(ChannelReserve.InvalidSignature.selector);
        cheats.prank(PAYEE);
        RESERVE.settle(d, amount, signature);
    }

    function assertTaken(ChannelReserve.ChannelDescriptor memory d, uint96 amount, bytes memory signature) private {
        cheats.prank(PAYEE);
        RESERVE.settle(d, amount, signature);
        assertEq(RESERVE.getChannelState(idOf(d)).settled, amount);
    }

    function test_the_recovery_number_may_count_from_0_or_from_27() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        assertTaken(d, 1, voucher(PAYER_KEY, id, 1));
        (uint8 v, bytes32 r, bytes32 s) = cheats.sign(PAYER_KEY, RESERVE.getVoucherDigest(id, 2));
        assertTaken(d, 2, abi.encodePacked(r, s, v - 27));
    }

    function test_the_authorized_signer_signs_instead_of_the_payer() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.authorizedSigner = stranger;
        bytes32 id = open(d, DEPOSIT);
        assertRefused(d, 10, voucher(PAYER_KEY, id, 10));
        assertTaken(d, 10, voucher(STRANGER_KEY, id, 10));
    }

    function test_a_strangers_voucher_and_one_for_something_else_are_refused() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        assertRefused(d, 10, voucher(STRANGER_KEY, id, 10));
        assertRefused(d, 10, voucher(PAYER_KEY, id, 11));
        assertRefused(d, 10, voucher(PAYER_KEY, keccak256("another channel"), 10));
    }

    function test_a_signature_in_no_known_form_is_refused() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        (uint8 v, bytes32 r, bytes32 s) = cheats.sign(PAYER_KEY, RESERVE.getVoucherDigest(id, 10));
        bytes memory good = abi.encodePacked(r, s, v);
        assertRefused(d, 10, "");
        assertRefused(d, 10, abi.encodePacked(good, uint8(0)));
        // The other s of the same signature, with the other recovery number.
        assertRefused(d, 10, abi.encodePacked(r, SECP256K1_ORDER - uint256(s), v == 27 ? 28 : 27));
        // EIP-2098: on the wire of the payment protocol, but not a form of TIP-1020.
        assertRefused(d, 10, abi.encodePacked(r, bytes32(uint256(s) | uint256(v - 27) << 255)));
        // A keychain's wrapping of the payer's own good signature.
        assertRefused(d, 10, abi.encodePacked(uint8(3), payer, good));
        assertRefused(d, 10, abi.encodePacked(uint8(4), payer, good));
        assertTaken(d, 10, good);
    }

    /// A channel whose vouchers a P-256 key signs.
    function openedForP256()
        private
        returns (ChannelReserve.ChannelDescriptor memory d, bytes32 id, uint256 x, uint256 y)
    {
        (x, y) = cheats.publicKeyP256(P256_KEY);
        d = descriptor();
        d.authorizedSigner = address(uint160(uint256(keccak256(abi.encodePacked(x, y)))));
        id = open(d, DEPOSIT);
    }

    function signedByP256(bytes32 digest) private pure returns (bytes32 r, uint256 low) {
        bytes32 s;
        (r, s) = cheats.signP256(P256_KEY, digest);
        low = uint256(s) > P256_ORDER / 2 ? P256_ORDER - uint256(s) : uint256(s);
    }

    function test_p256_keys_sign_too() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id, uint256 x, uint256 y) = openedForP256();
        bytes32 digest = RESERVE.getVoucherDigest(id, 10);
        (bytes32 r, uint256 low) = signedByP256(digest);
        assertRefused(d, 10, abi.encodePacked(uint8(1), r, P256_ORDER - low, x, y, uint8(0)));
        // The key of another.
        (uint256 otherX, uint256 otherY) = cheats.publicKeyP256(P256_KEY + 1);
        assertRefused(d, 10, abi.encodePacked(uint8(1), r, low, otherX, otherY, uint8(0)));
        // Says that the digest was hashed once more before it was signed, which is not so.
        assertRefused(d, 10, abi.encodePacked(uint8(1), r, low, x, y, uint8(1)));
        assertTaken(d, 10, abi.encodePacked(uint8(1), r, low, x, y, uint8(0)));

        (r, low) = signedByP256(sha256(abi.encodePacked(RESERVE.getVoucherDigest(id, 20))));
        assertTaken(d, 20, abi.encodePacked(uint8(1), r, low, x, y, uint8(1)));
    }

    /// What an authenticator is given to sign, with `flags` about its user. Base64 without the padding.
    function webAuthnData(string memory kind, bytes32 digest, uint8 flags) private pure returns (bytes memory) {
        bytes memory challenge = bytes(encodings.toBase64URL(abi.encodePacked(digest)));
        assembly ("memory-safe") {
            mstore(challenge, 43)
        }
        bytes memory client = abi.encodePacked(
            '{"type":"', kind, '","challenge":"', challenge, '","origin":"https://wallet.example","crossOrigin":false}'
        );
        return abi.encodePacked(sha256("wallet.example"), flags, uint32(0), client);
    }

    function signedByWebAuthn(bytes memory data, uint256 x, uint256 y) private pure returns (bytes memory) {
        bytes memory client = new bytes(data.length - 37);
        bytes memory authenticator = new bytes(37);
        for (uint256 i = 0; i < data.length; ++i) {
            if (i < 37) authenticator[i] = data[i];
            else client[i - 37] = data[i];
        }
        (bytes32 r, uint256 low) = signedByP256(sha256(abi.encodePacked(authenticator, sha256(client))));
        return abi.encodePacked(uint8(2), data, r, low, x, y);
    }

    function test_passkeys_sign_too() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id, uint256 x, uint256 y) = openedForP256();
        bytes32 digest = RESERVE.getVoucherDigest(id, 10);
        // Nobody was there, an answer to a registration, another channel's voucher.
        assertRefused(d, 10, signedByWebAuthn(webAuthnData("webauthn.get", digest, 0), x, y));
        assertRefused(d, 10, signedByWebAuthn(webAuthnData("webauthn.create", digest, 5), x, y));
        bytes32 another = RESERVE.getVoucherDigest(keccak256("another channel"), 10);
        assertRefused(d, 10, signedByWebAuthn(webAuthnData("webauthn.get", another, 5), x, y));

        bytes memory good = signedByWebAuthn(webAuthnData("webauthn.get", digest, 5), x, y);
        assertRefused(d, 11, good);
        good[40] ^= 0x01;
        assertRefused(d, 10, good);
        good[40] ^= 0x01;
        assertTaken(d, 10, good);
    }
}
