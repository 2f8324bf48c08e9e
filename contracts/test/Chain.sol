// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "./Test.sol";

/// The cheat codes that several tests use.
interface ICheats {
    function addr(uint256 key) external pure returns (address);
    function etch(address target, bytes calldata code) external;
    function expectEmit(address emitter) external;
    function expectRevert(bytes4 error) external;
    function mockCall(address target, bytes calldata data, bytes calldata answer) external;
    function prank(address sender) external;
    function prank(address sender, address origin) external;
    function publicKeyP256(uint256 key) external pure returns (uint256 x, uint256 y);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function signP256(uint256 key, bytes32 digest) external pure returns (bytes32 r, bytes32 s);
    function store(address target, bytes32 slot, bytes32 value) external;
    function load(address target, bytes32 slot) external view returns (bytes32);
    function warp(uint256 timestamp) external;
}

/// The part of a token that tests and issuers use.
interface IToken {
    error ContractPaused();
    error InsufficientAllowance();
    error InsufficientBalance(uint256 available, uint256 required, address token);

    function ISSUER_ROLE() external view returns (bytes32);
    function PAUSE_ROLE() external view returns (bytes32);
    function approve(address spender, uint256 amount) external returns (bool);
    function balanceOf(address account) external view returns (uint256);
    function changeTransferPolicyId(uint64 policy) external;
    function grantRole(bytes32 role, address account) external;
    function mint(address to, uint256 amount) external;
    function pause() external;
    function transfer(address to, uint256 amount) external returns (bool);
    function transferPolicyId() external view returns (uint64);
}

/// Makes tokens; its maker has every right over one.
interface ITokenFactory {
    function createToken(
        string calldata name,
        string calldata symbol,
        string calldata currency,
        address quoteToken,
        address admin,
        bytes32 salt
    ) external returns (address token);
}

/// TIP-403, the registry of policies.
interface IPolicyRegistry {
    function createPolicy(address admin, uint8 kind) external returns (uint64);
    function createCompoundPolicy(uint64 senders, uint64 recipients, uint64 mintRecipients) external returns (uint64);
    function modifyPolicyBlacklist(uint64 policy, address account, bool restricted) external;
}

/// The chain's own token factory and policies, as a token's issuer uses them.
abstract contract Issuer is Test {
    ITokenFactory internal constant FACTORY = ITokenFactory(0x20Fc000000000000000000000000000000000000);
    IPolicyRegistry internal constant POLICIES = IPolicyRegistry(0x403c000000000000000000000000000000000000);
    address internal constant QUOTE_TOKEN = 0x20C0000000000000000000000000000000000000;
    uint8 private constant BLACKLIST = 1;
    uint64 private constant EVERYBODY = 1;

    uint64 private senders;
    uint64 private recipients;

    /// A token that this test issues, pauses, and forbids to whom it likes.
    function issue() internal returns (IToken token) {
        token = IToken(FACTORY.createToken("Test dollar", "TEST", "USD", QUOTE_TOKEN, address(this), "test"));
        token.grantRole(token.ISSUER_ROLE(), address(this));
        token.grantRole(token.PAUSE_ROLE(), address(this));
        senders = POLICIES.createPolicy(address(this), BLACKLIST);
        recipients = POLICIES.createPolicy(address(this), BLACKLIST);
        token.changeTransferPolicyId(POLICIES.createCompoundPolicy(senders, recipients, EVERYBODY));
    }

    function forbidSending(address account) internal {
        POLICIES.modifyPolicyBlacklist(senders, account, true);
    }

    function forbidReceiving(address account) internal {
        POLICIES.modifyPolicyBlacklist(recipients, account, true);
    }
}
