// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySaleV1} from "../src/KeySaleV1.sol";
import {ISale, SaleBase} from "./SaleBase.t.sol";

/// A sale of version 1, which takes the owner of a key from its caller.
abstract contract KeySaleV1Base is SaleBase {
    KeySaleV1 internal sale;

    function deploy() internal override {
        sale = new KeySaleV1(address(TOKEN), PAYEE, prices());
    }

    function anySale() internal view override returns (ISale) {
        return ISale(address(sale));
    }

    function buy(address wallet, bytes32 key, uint256 pack, address owner) internal {
        cheats.prank(wallet);
        sale.buy(key, pack, owner);
    }
}
