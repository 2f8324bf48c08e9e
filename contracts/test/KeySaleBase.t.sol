// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySale} from "../src/KeySale.sol";
import {ISale, SaleBase} from "./SaleBase.t.sol";

/// A sale of version 2, which has a minimum and which its payee can close.
abstract contract KeySaleBase is SaleBase {
    uint256 internal constant MINIMUM = 1e6;

    KeySale internal sale;

    function deploy() internal override {
        sale = new KeySale(address(TOKEN), PAYEE, MINIMUM, prices());
    }

    function anySale() internal view override returns (ISale) {
        return ISale(address(sale));
    }

    function buy(address wallet, bytes32 key, uint256 pack) internal {
        cheats.prank(wallet);
        sale.buy(key, pack);
    }

    function close() internal {
        cheats.prank(PAYEE);
        sale.close();
    }

    /// Checks also that it is open or closed as before.
    function assertRefused(address wallet, bytes memory data, bytes memory wanted) internal override {
        bool closed = sale.closed();
        super.assertRefused(wallet, data, wanted);
        assertEq(sale.closed(), closed);
    }

    function assertRefused(address wallet, bytes memory data, bytes4 wanted) internal {
        assertRefused(wallet, data, abi.encodeWithSelector(wanted));
    }
}
