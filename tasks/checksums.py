"""Sizes and checksums of the raw files, unpacked, and of the MNIST archives."""

# name: bytes unpacked, sha256 unpacked, bytes of the .gz, sha256 of the .gz
MNIST = {
    "train-images-idx3-ubyte": (
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte": (
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "t10k-images-idx3-ubyte": (
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte": (
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}
# sha256 of the official files: their published SHA-1 was checked on the same bytes.
CIFAR = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
HAR_FOLDER = "UCI HAR Dataset"
HAR_SIGNALS = tuple(f"{kind}_{axis}" for kind in ("body_acc", "body_gyro", "total_acc") for axis in "xyz")
HAR_BYTES = {"train": 15_071_600, "test": 6_041_350}
HAR_OFFICIAL = {
    "test/Inertial Signals/body_gyro_x_test": "fb4f27f13e4e08055043f34ed52f6d8bbe8ebce7dff9475ff92be03b3d3f607c",
    "test/Inertial Signals/body_gyro_y_test": "d2501166b2b1f645b51f722fcf31f3aa1e9a3edae18d49322612f37b4495cb80",
    "test/Inertial Signals/body_gyro_z_test": "90a18ce534be0dfc616cefdac9874e2ea599ae20421cd161361c2a33f40cfa5e",
    "test/Inertial Signals/total_acc_x_test": "ea71c339c828561bc1dc6f7301a54aeb7e61e6312cb2387ebaea832ffd04203d",
    "test/Inertial Signals/total_acc_y_test": "32692c617b40c16e020bf059a316bd6bf3a63d771f030dfc5fa4003f390b6f67",
    "test/Inertial Signals/total_acc_z_test": "622ddf1d9532fbe340472074ef1edd1a2f58aa332682542bb36a8c03c9ba9e04",
    "train/Inertial Signals/body_gyro_x_train": "423f6806f09059de3c1f443cf1d04a3c3907dc7ee17b5d296ed775b07aa6cde6",
    "train/Inertial Signals/body_gyro_y_train": "42419d8aaefd1a319561998defb167bfa57f7e51d656b6012d5a59c0b10f5260",
    "train/Inertial Signals/body_gyro_z_train": "05bc629faee918b0f5b99cd2e68f860c785889627ec8efeb85c29282f3963988",
    "train/Inertial Signals/total_acc_x_train": "41a7fe1da7b529cc6c2c3d7df97c98752bea74d7a142673dd59c7820fad3b5e6",
    "train/Inertial Signals/total_acc_y_train": "03bd3a80c0c04bf354597ad62920158b4b6605e157d856a1aab9abb357d40c5d",
    "train/Inertial Signals/total_acc_z_train": "5be3b593f88d49bb8f740c1c41379fc928ea8608d706594ebbba81cd800a5a33",
    "test/y_test": "2a94cb53ca46b956c1b2aebd4a09a72badd8a8e9ea9cdfe9f31b3306a08666bb",
    "test/subject_test": "63b8c577f4a85431c06bd87f6384608c90a9f72f05c7956dd21255dc63515c07",
    "train/y_train": "415b3357e2e2d5e70a45c781947c6bdd80e0410a579d862eedcd6bbce3c694ef",
    "train/subject_train": "66e1e2fbe9b396fa5155f531dc3348c803f503be663e2318772d49947db9153a",
}
# Re-derived from the raw recordings: complete, values within 1e-7 g of the official ones, not the same bytes.
HAR_COPIES = {
    "test/Inertial Signals/body_acc_x_test": "a64817598d28a3a8233a815bc2cd5f24736815d10f9b7dfe4f52c9e19004412b",
    "test/Inertial Signals/body_acc_y_test": "b968ab6c18f0b897f59eae185c5183896c04e3a6b6da3212be8fbd54fbae6bea",
    "test/Inertial Signals/body_acc_z_test": "62bd51ccdaa9616c66d1c08b8d5dc2a9f6e76e311d6def73fb7fe07c169a147d",
    "train/Inertial Signals/body_acc_x_train": "4879eb6dde90ff1df86cd34576c14366003b90a149abe5a83123b394a81f3272",
    "train/Inertial Signals/body_acc_y_train": "7d5a14a178dfbffd9795fb339fdd58d124003497b1b8cd33aecf1293f07729d4",
    "train/Inertial Signals/body_acc_z_train": "ad3d451b07839208cebc54b042c88fc46410593949b1af6886f1a214f2419746",
}
# git blob SHA-1 of the official body_acc files: the same in four independent public copies whose other signal files
# are official (by the sums above).
HAR_GIT = {
    "test/Inertial Signals/body_acc_x_test": "7bab0da74959c441017a5fe0589e21f2f11fa871",
    "test/Inertial Signals/body_acc_y_test": "c8be4e8dceb829cbb3736a84b1a7acd848951e68",
    "test/Inertial Signals/body_acc_z_test": "7b8d432a7bbb6de641b31cc6c0e60bb3eb1e52f6",
    "train/Inertial Signals/body_acc_x_train": "d7ff0d4ad07a340e4393eafe56d11e288e66d130",
    "train/Inertial Signals/body_acc_y_train": "e65ebe65201cbdabcab402bc48e68fd2ca14dc42",
    "train/Inertial Signals/body_acc_z_train": "f563e7cc41f8055f28ef280858a5abc796aaf1ca",
}
HAR_SMALL = {"test/y_test": 5_894, "test/subject_test": 7_934, "train/y_train": 14_704, "train/subject_train": 20_152}
