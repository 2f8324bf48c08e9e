// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "./Test.sol";
import {ICheats, IToken} from "./Chain.sol";

/// Errors of the token, which a sale passes on.
interface ITokenErrors {
    error InsufficientAllowance();
    error InsufficientBalance(uint256 available, uint256 required, address token);
}

/// What the sales of all versions have in common.
interface ISale {
    function topUp(address owner, uint256 amount) external;
    function sales() external view returns (uint256);
}

/// A sale of three packs, whichever version it is, and a wallet that has approved it.
abstract contract SaleBase is Test {
    ICheats internal constant cheats = ICheats(address(vm));
    IToken internal constant TOKEN = IToken(0x20C0000000000000000000000000000000000001);
    address internal constant PAYEE = address(0xBEE);
    address internal constant BUYER = address(0xB0B);
    address internal constant OWNER = address(0x09E7);
    address internal constant STRANGER = address(0xBAD);
    bytes32 internal constant KEY = keccak256("a secret");

    uint256 internal held;

    /// Deploys the sale.
    function deploy() internal virtual;

    /// The sale that was deployed.
    function anySale() internal view virtual returns (ISale);

    function setUp() public virtual {
        deploy();
        held = TOKEN.balanceOf(address(this)) / 2;
        TOKEN.transfer(BUYER, held);
        approve(BUYER, type(uint256).max);
    }

    function prices() internal pure returns (uint256[] memory list) {
        list = new uint256[](3);
        (list[0], list[1], list[2]) = (10e6, 25e6, 100e6);
    }

    function approve(address wallet, uint256 amount) internal {
        cheats.prank(wallet);
        TOKEN.approve(address(anySale()), amount);
    }

    function topUp(address wallet, address owner, uint256 amount) internal {
        cheats.prank(wallet);
        anySale().topUp(owner, amount);
    }

    function expectEvent() internal {
        vm.expectEmit(address(anySale()));
    }

    /// Checks that the call, made by `wallet`, reverts with exactly this and changes nothing.
    function assertRefused(address wallet, bytes memory data, bytes memory wanted) internal virtual {
        uint256 sales = anySale().sales();
        (uint256 balance, uint256 paid) = (TOKEN.balanceOf(wallet), TOKEN.balanceOf(PAYEE));
        cheats.prank(wallet);
        (bool ok, bytes memory got) = address(anySale()).call(data);
        assertEq(ok, false);
        assertEq(got, wanted);
        assertEq(TOKEN.balanceOf(wallet), balance);
        assertEq(TOKEN.balanceOf(PAYEE), paid);
        assertEq(anySale().sales(), sales);
    }

    /// Checks where the buyer's money is after `sales` purchases for `paid` altogether. The sale never has any.
    function assertMoney(uint256 paid, uint256 sales) internal view {
        assertEq(TOKEN.balanceOf(PAYEE), paid);
        assertEq(TOKEN.balanceOf(BUYER), held - paid);
        assertEq(TOKEN.balanceOf(address(anySale())), 0);
        assertEq(anySale().sales(), sales);
    }
}
